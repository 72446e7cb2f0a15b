-- Which keys the installation's secrets are under, so that a server with another key is told before it does harm.
create table secret_keys (
    version integer not null,
    -- SHA-256 of the key, which tells keys apart and gives nothing away: a key is 256 random bits.
    fingerprint bytea not null,
    constraint secret_keys_pkey primary key (version)
);

create table keypairs (
    name text collate "C" not null,
    -- As in the public key: `ssh-ed25519` and so on.
    key_type text not null,
    -- In the format of authorized_keys.
    public_key text not null,
    -- SHA256:…, as ssh-keygen prints it.
    fingerprint text not null,
    -- The private key in OpenSSH's format, sealed, and the version of the key it is sealed with.
    private_key bytea not null,
    secret_version integer not null,
    attributes json not null,
    revision bigint not null default nextval('revisions'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint keypairs_pkey primary key (name),
    constraint keypairs_secret_version_fkey foreign key (secret_version) references secret_keys (version)
);

alter table git_repos
    add column keypair text collate "C",
    add constraint git_repos_keypair_fkey foreign key (keypair) references keypairs (name);
create index git_repos_keypair on git_repos (keypair, application, name) where keypair is not null;
