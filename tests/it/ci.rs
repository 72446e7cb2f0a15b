//! The recipes for CI do what they say: their commands and scripts are taken from the page, and run.

use std::path::Path;
use std::process::Output;

use serde_json::json;
use tokio::process::Command;

use crate::harness::{PASSWORD, TestHost, elita, project_root};
use crate::readme::{Step, redacted, steps};
use crate::uploads::{put, zip};

/// A working directory of a CI job, with what the job builds.
struct Place {
    host: TestHost,
    directory: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let host = TestHost::start().await;
        host.create_application("shop").await;
        host.create_application("blog").await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("site")).unwrap();
        std::fs::write(directory.path().join("site/index.html"), "hello").unwrap();
        let place = Self { host, directory };
        assert!(place.bash("1", "tar -cz -f shop.tar.gz site").await.status.success());
        place
    }

    /// Runs a script of a job, with the token that it has by now.
    async fn bash(&self, build: &str, script: &str) -> Output {
        let token = std::fs::read_to_string(self.directory.path().join("ci-token"));
        let token = token.map_or_else(|_| self.host.database.token.clone(), |token| token.trim().to_owned());
        let mut bash = Command::new("bash");
        bash.args(["-ec", script]).current_dir(self.directory.path());
        let path = format!("{}:{}", elita().parent().unwrap().display(), std::env::var("PATH").unwrap());
        bash.env_clear().env("PATH", path).env("HOME", self.directory.path());
        bash.env("ELITA_SERVER", self.host.client.base()).env("ELITA_TOKEN", token);
        bash.env("CI_PASSWORD", PASSWORD).env("BUILD", build).output().await.unwrap()
    }
}

#[tokio::test]
async fn every_command_of_the_page_works_and_prints_what_it_shows() {
    let place = Place::new().await;
    for step in steps(&page()) {
        let Step::Command { command, shown } = step else { continue };
        // What later commands use of earlier ones.
        let job = "job=$(sed 's/.*\"job_id\":\"\\([^\"]*\\)\".*/\\1/' upload.json 2>/dev/null) || true";
        let output = place.bash("42", &format!("{job}\n{{ {command}\n}} 2>&1")).await;
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{command}: {printed}");
        assert_eq!(redacted(&printed), redacted(&shown), "{command}");
    }
    for build in ["42", "43"] {
        assert_eq!(place.host.client.get(&format!("/app/shop/builds/{build}")).await.body["stored"], true);
    }
    // The token is for that application alone.
    let token = std::fs::read_to_string(place.directory.path().join("ci-token")).unwrap();
    let client = place.host.client.with_token(token.trim());
    assert_eq!(client.post("/app/blog/builds", &json!({ "build_name": "1" })).await.status, 403);
    assert_eq!(client.get("/app/shop/builds/42").await.status, 403);
    assert_eq!(client.delete("/app/shop/builds/42").await.status, 403);
    // It sees the jobs of its own uploads, and no others.
    let own = std::fs::read_to_string(place.directory.path().join("upload.json")).unwrap();
    let own: serde_json::Value = serde_json::from_str(&own).unwrap();
    let own = own["location"].as_str().unwrap();
    for path in [own.to_owned(), format!("{own}/data"), format!("{own}/log")] {
        assert_eq!(client.get(&path).await.status, 200, "{path}");
    }
    let others = put(&place.host.client, "/app/shop/builds/44/file?create=true", zip("a", b"b")).await;
    assert_eq!(client.get(others.body["location"].as_str().unwrap()).await.status, 404);
    assert_eq!(client.get("/server").await.body["items"], json!([]));
    assert_eq!(client.get("/global/users").await.status, 403);
}

#[tokio::test]
async fn the_scripts_of_all_recipes_upload_and_wait_and_fail_with_the_reason() {
    let place = Place::new().await;
    let page = page();
    for (system, script) in [
        ("github", block(&page, "      - name: upload\n        run: |\n", "          ")),
        ("gitlab", block(&page, "    - tar -cz -f shop.tar.gz site\n    - |\n", "      ")),
        ("jenkins", jenkins(&page)),
    ] {
        let build = format!("{system}-1");
        let output = place.bash(&build, &format!("tar -cz -f shop.tar.gz site\n{script}")).await;
        assert!(output.status.success(), "{system}: {output:?}");
        assert_eq!(place.host.client.get(&format!("/app/shop/builds/{build}")).await.body["stored"], true, "{system}");
        // The same job again: the key answers with the job that there is.
        let again = place.bash(&build, &script).await;
        assert!(again.status.success(), "{system}: {again:?}");

        // Refused at once, and by the job.
        let page = script.replace("tar -cz -f shop.tar.gz site", "");
        for (build, make, reason) in [
            ("page", "echo '<html>log in</html>' > shop.tar.gz", "a page in HTML"),
            ("damaged", "head -c 1000 /dev/zero | gzip > shop.tar.gz", "invalid-archive"),
        ] {
            let build = format!("{system}-{build}");
            let output = place.bash(&build, &format!("{make}\n{page}")).await;
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(!output.status.success() && said.contains(reason), "{build}: {said}");
            let found = place.host.client.get(&format!("/app/shop/builds/{build}")).await;
            assert!(found.status == 404 || found.body["stored"] == false, "{found}");
        }
        assert!(place.bash("1", "tar -cz -f shop.tar.gz site").await.status.success());
    }
}

fn page() -> String {
    std::fs::read_to_string(Path::new(&project_root()).join("docs/ci.md")).unwrap()
}

/// The lines behind `before` that are indented so far.
fn block(page: &str, before: &str, indent: &str) -> String {
    let (_, behind) = page.split_once(before).unwrap_or_else(|| panic!("the page has no\n{before}"));
    behind.lines().map_while(|line| line.strip_prefix(indent)).map(|line| format!("{line}\n")).collect()
}

/// In Groovy a backslash is written as two.
fn jenkins(page: &str) -> String {
    let (_, behind) = page.split_once("sh '''").unwrap();
    behind.split_once("'''").unwrap().0.replace("\\\\", "\\")
}
