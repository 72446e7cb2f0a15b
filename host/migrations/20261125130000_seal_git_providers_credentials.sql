alter table git_providers
    -- Credentials as JSON, sealed, and the version of the key they are sealed with; none: there are none.
    add column auth bytea,
    add column secret_version integer,
    add constraint git_providers_auth_sealed check ((auth is null) = (secret_version is null)),
    add constraint git_providers_secret_version_fkey foreign key (secret_version) references secret_keys (version);
