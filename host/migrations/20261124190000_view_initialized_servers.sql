-- Where each gitdeploy is initialized, as its document shows it: [{server, deployed_build, initialized_at}], by server.
create view initialized_servers as
    select application, gitdeploy,
        json_agg(json_build_object(
            'server', server, 'deployed_build', deployed_build, 'initialized_at', initialized_at
        ) order by server) as servers
    from gitdeploy_servers group by application, gitdeploy;
