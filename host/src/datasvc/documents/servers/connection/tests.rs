use serde_json::{Value, json};

use super::{Connection, Driver};
use crate::datasvc::ground::error::Error;
use crate::datasvc::ground::ids::ServerName;

const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

fn read(driver: Driver, members: &Value) -> Result<Value, (String, String)> {
    let server = ServerName::parse("web1.example.com").unwrap();
    match Connection::read(driver, members.as_object().unwrap().clone(), &server) {
        Ok(connection) => Ok(serde_json::to_value(connection).unwrap()),
        Err(Error::Invalid { field, reason }) => Err((field.into_owned(), reason)),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_given_has_defaults() {
    let ssh = json!({
        "host": "web1.example.com", "port": 22, "user": "root", "host_key": null, "keypair": null, "jump": null,
        "sudo": false,
    });
    assert_eq!(read(Driver::Ssh, &json!({})), Ok(ssh.clone()));
    assert_eq!(read(Driver::Ssh, &json!({ "host": null, "port": null, "user": null })), Ok(ssh));
    assert_eq!(read(Driver::Salt, &json!({})), Ok(json!({ "minion": "web1.example.com" })));
    assert_eq!(read(Driver::Local, &json!({})), Ok(json!({})));
}

#[test]
fn what_is_given_is_kept_and_can_be_read_again() {
    for (driver, members) in [
        (
            Driver::Ssh,
            json!({
                "host": "fe80::1%eth0", "port": 2222, "user": "deploy@corp", "host_key": HOST_KEY,
                "keypair": "deploy", "jump": "bastion.example.com", "sudo": true,
            }),
        ),
        (
            Driver::Ssh,
            json!({
                "host": "::1", "port": 65535, "user": "_www", "host_key": null, "keypair": null, "jump": null,
                "sudo": false,
            }),
        ),
        (Driver::Salt, json!({ "minion": "web:1@dc" })),
        (Driver::Local, json!({})),
    ] {
        assert_eq!(read(driver, &members), Ok(members.clone()));
        let connection: Connection = serde_json::from_value(members.clone()).unwrap();
        assert_eq!(serde_json::to_value(connection).unwrap(), members);
    }
}

#[test]
fn what_cannot_be_right_is_pointed_at() {
    let (long, long_key) = ("x".repeat(254), format!("{HOST_KEY} {}", "x".repeat(16 * 1024)));
    let two_lines = format!("{HOST_KEY} a\n* {HOST_KEY}");
    let other_type = HOST_KEY.replace("ssh-ed25519", "ssh-rsa");
    let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    for (driver, members, field) in [
        (Driver::Ssh, json!({ "host": "" }), "connection/host"),
        (Driver::Ssh, json!({ "host": "-oProxyCommand=x" }), "connection/host"),
        (Driver::Ssh, json!({ "host": "a b" }), "connection/host"),
        (Driver::Ssh, json!({ "host": "ä" }), "connection/host"),
        (Driver::Ssh, json!({ "host": long }), "connection/host"),
        (Driver::Ssh, json!({ "host": 7 }), "connection/host"),
        (Driver::Ssh, json!({ "port": 0 }), "connection/port"),
        (Driver::Ssh, json!({ "port": 65536 }), "connection/port"),
        (Driver::Ssh, json!({ "port": "22" }), "connection/port"),
        (Driver::Ssh, json!({ "user": "-l" }), "connection/user"),
        (Driver::Ssh, json!({ "user": "root;" }), "connection/user"),
        (Driver::Ssh, json!({ "password": "secret" }), "connection/password"),
        (Driver::Salt, json!({ "password": null }), "connection/password"),
        (Driver::Ssh, json!({ "a/b": 1 }), "connection/a~1b"),
        (Driver::Ssh, json!({ "host_key": "" }), "connection/host_key"),
        (Driver::Ssh, json!({ "host_key": format!("web1 {HOST_KEY}") }), "connection/host_key"),
        (Driver::Ssh, json!({ "host_key": two_lines }), "connection/host_key"),
        (Driver::Ssh, json!({ "host_key": other_type }), "connection/host_key"),
        (Driver::Ssh, json!({ "host_key": private }), "connection/host_key"),
        (Driver::Ssh, json!({ "host_key": long_key }), "connection/host_key"),
        (Driver::Salt, json!({ "minion": "web*" }), "connection/minion"),
        (Driver::Salt, json!({ "host": "web1" }), "connection/host"),
        (Driver::Local, json!({ "minion": "web1" }), "connection/minion"),
    ] {
        let refused = read(driver, &members).map_err(|(field, reason)| (field, reason.contains("AAAA\n")));
        assert_eq!(refused, Err((field.to_owned(), false)), "{members}");
    }
}
