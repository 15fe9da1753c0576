module ratatosk.test/caddy

go 1.26.8

require github.com/caddyserver/caddy/v2 v2.11.9
