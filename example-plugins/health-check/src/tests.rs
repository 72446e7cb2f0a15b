use super::*;

#[test]
fn each_server_has_its_own_url() {
    assert_eq!(url_of("https://{server}.example.org/health", "web1"), "https://web1.example.org/health");
}
