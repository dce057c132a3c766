"""Single sign-on: logins that an OpenID provider vouches for (OpenID Connect Core; RFC 6749, section 4.1)."""
