use std::ffi::OsString;

use super::*;

fn read(arguments: &[&str]) -> Result<Settings, String> {
    let arguments = ["elita", "serve"].iter().chain(arguments).map(OsString::from);
    match Cli::read(arguments) {
        Ok(Cli { command: Commands::Serve(settings) }) => Ok(*settings),
        Err(error) => Err(error.to_string()),
    }
}

fn file(name: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("elita-config-{}-{name}.toml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn the_file_stands_behind_the_command_line() {
    let path = file("order", "listen = \"127.0.0.1:1111\"\ndev = true\nplugin-cpu-ms = 77\ndrain-seconds = 3\n");
    let settings = read(&["--config", &path, "--drain-seconds", "9"]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:1111");
    assert!(settings.dev);
    assert_eq!(settings.limits.cpu_ms, 77);
    assert_eq!(settings.drain_seconds, 9);
}

#[test]
fn an_unknown_setting_is_refused_by_its_name() {
    let path = file("unknown", "lisen = \"127.0.0.1:1111\"\n");
    assert!(read(&["--config", &path]).unwrap_err().contains("there is no setting `lisen`"));
}

#[test]
fn a_wrong_value_is_refused_by_its_flag() {
    let path = file("wrong", "plugin-memory-mib = \"lots\"\n");
    assert!(read(&["--config", &path]).unwrap_err().contains("--plugin-memory-mib"));
}

#[test]
fn what_is_granted_to_a_plugin_is_read_from_the_file() {
    let guide = include_str!("../../../docs/operating.md");
    let example = guide.split("```").find_map(|block| block.strip_prefix("toml\n[plugins.")).unwrap();
    let settings = read(&["--config", &file("grants", &format!("[plugins.{example}"))]).unwrap();
    let (plugin, grants) = settings.grants.iter().next().unwrap();
    let http: Vec<_> = grants.http().iter().map(ToString::to_string).collect();
    assert_eq!(plugin.as_str(), "widgets");
    assert_eq!(http, ["api.example.org:443", "10.0.0.5:8080", "ci.example.org:8080 at 10.1.0.0/16"]);
}

#[test]
fn a_grant_that_is_written_wrongly_is_refused_with_the_reason() {
    for (http, reason) in [
        (r#"["api.example.org"]"#, "`api.example.org` has no port, as in `api.example.org:443`"),
        (r#"["0177.0.0.1:80"]"#, "`0177.0.0.1` is to be written as `127.0.0.1`"),
        ("[443]", "a destination is written"),
    ] {
        let refused = read(&["--config", &file("bad-grant", &format!("[plugins.widgets]\nhttp = {http}\n"))]);
        let told = refused.unwrap_err();
        assert!(told.contains("[plugins]") && told.contains(reason), "{told}");
    }
}

#[test]
fn plugins_are_in_the_data_directory_unless_said_otherwise() {
    assert_eq!(read(&["--data-dir", "/srv/elita"]).unwrap().plugin_dir(), PathBuf::from("/srv/elita/plugins"));
    assert_eq!(read(&["--plugin-dir", "/opt/plugins"]).unwrap().plugin_dir(), PathBuf::from("/opt/plugins"));
}

#[test]
fn proxies_are_addresses_and_networks_wherever_they_are_given() {
    let path = file("proxies", "trusted-proxies = \"127.0.0.1,10.0.0.0/8\"\nhttp-idle-seconds = 5\n");
    let settings = read(&["--config", &path]).unwrap();
    let proxies =
        |settings: &Settings| settings.http.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((proxies(&settings), settings.http.idle_seconds), (vec!["127.0.0.1/32".into(), "10.0.0.0/8".into()], 5));
    let settings = read(&["--config", &path, "--trusted-proxies", "2001:db8::/32"]).unwrap();
    assert_eq!(proxies(&settings), ["2001:db8::/32"]);
    assert!(read(&["--trusted-proxies", "proxy.example"]).unwrap_err().contains("--trusted-proxies"));
}

#[test]
fn a_certificate_and_its_key_come_from_wherever_each_is_given() {
    let path = file("tls", "tls-cert = \"cert.pem\"\n");
    let files = |arguments: &[&str]| read(arguments).unwrap().http.tls_files().map_err(|problem| problem.to_string());
    assert_eq!(
        files(&["--config", &path, "--tls-key", "key.pem"]),
        Ok(Some((PathBuf::from("cert.pem"), PathBuf::from("key.pem"))))
    );
    assert!(files(&["--config", &path]).unwrap_err().contains("--tls-cert needs --tls-key"));
    assert_eq!(files(&[]), Ok(None));
}
