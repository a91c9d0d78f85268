"""Signing in by an OpenID Connect provider: the authorization code flow with PKCE.

`flow` is one sign-in under way, `provider` asks the provider, `id_token` proves what it says, `admission` decides who
comes in as whom, and `service` tells the story. Docs: docs/decisions/0033-oidc.md.
"""
