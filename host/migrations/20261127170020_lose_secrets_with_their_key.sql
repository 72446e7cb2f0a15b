-- A private key is lost with the secret key that it was sealed with. Its public half stays: receipts are checked by it, and
-- it is in files on servers.
alter table receipt_keys
    alter column private_key drop not null,
    alter column secret_version drop not null,
    add constraint receipt_keys_private_key_sealed check ((private_key is null) = (secret_version is null));
alter table keypairs
    alter column private_key drop not null,
    alter column secret_version drop not null,
    add constraint keypairs_private_key_sealed check ((private_key is null) = (secret_version is null));

-- Whoever has the host does this by `elita admin`, and is no user.
alter table audit drop constraint audit_by_user_plugin_or_job;
alter table audit add constraint audit_by_user_plugin_job_or_host
    check (num_nonnulls(username, plugin) = 1
        or (plugin is null and (job_id is not null or operation in ('receipt-keys.replace', 'secrets.forget'))));
