create index tokens_expires_at on tokens (expires_at);
