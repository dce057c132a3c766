// The certified provider `oidc-provider` on 127.0.0.1, whose access tokens are JWTs for a service of ours.
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const { REDIRECT_URI, CLIENT_ID, CLIENT_SECRET, RESOURCE } = process.env;
const people = { ann: ['makers'], bob: [] };
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: CLIENT_ID,
      client_secret: CLIENT_SECRET,
      redirect_uris: [REDIRECT_URI],
      grant_types: ['authorization_code', 'client_credentials'],
      response_types: ['code'],
    }],
    scopes: ['openid', 'orders:read', 'orders:write'],
    findAccount: (ctx, sub) => ({ accountId: sub, claims: async () => ({ sub }) }),
    extraTokenClaims: (ctx, token) => (token.accountId ? { groups: people[token.accountId] } : undefined),
    cookies: { keys: ['a key of the tests'] },
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'orders:read orders:write',
          audience: RESOURCE,
          accessTokenTTL: 600,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  });
  provider.on('server_error', (ctx, error) => console.error('server_error', error));
  server.on('request', provider.callback());
  console.log(JSON.stringify({ issuer }));
});
// Ends with whoever started it.
process.stdin.on('end', () => process.exit(0)).resume();
