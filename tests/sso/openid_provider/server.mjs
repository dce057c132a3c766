// The certified provider `oidc-provider` on 127.0.0.1, with one client and two people, whose passwords are anything.
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const { REDIRECT_URI, LOGOUT_URI, BACKCHANNEL_URI, CLIENT_ID, CLIENT_SECRET, USERINFO_ALG } = process.env;
const people = {
  ann: { email: 'ann@example.org', email_verified: true, groups: ['makers'] },
  bob: { email: 'bob@example.org', email_verified: false, groups: [] },
};
const server = createServer();
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: CLIENT_ID,
      client_secret: CLIENT_SECRET,
      redirect_uris: [REDIRECT_URI],
      post_logout_redirect_uris: [LOGOUT_URI],
      grant_types: ['authorization_code'],
      response_types: ['code'],
      backchannel_logout_uri: BACKCHANNEL_URI || undefined,
      backchannel_logout_session_required: true,
      userinfo_signed_response_alg: USERINFO_ALG || undefined,
    }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
    scopes: ['openid', 'email', 'groups'],
    findAccount: (ctx, sub) => ({ accountId: sub, claims: async () => ({ sub, ...people[sub] }) }),
    cookies: { keys: ['a key of the tests'] },
    // Where the userinfo is signed, it alone has the claims of the scopes.
    conformIdTokenClaims: Boolean(USERINFO_ALG),
    // Its own would not call this machine, which is where the application is.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      jwtUserinfo: { enabled: Boolean(USERINFO_ALG) },
    },
  });
  provider.on('backchannel.error', (ctx, error) => console.error('backchannel.error', error));
  provider.on('server_error', (ctx, error) => console.error('server_error', error));
  server.on('request', provider.callback());
  console.log(JSON.stringify({ issuer }));
});
// Ends with whoever started it.
process.stdin.on('end', () => process.exit(0)).resume();
