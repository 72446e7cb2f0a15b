//! Packages that are committed to a git repository of Elita's disk, beside unpacking them into a clone and committing and
//! pushing that; and what a large file takes of memory.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::client::{Connection, Request};
use crate::clones;
use crate::report::{Comparison, Goal, Report};
use crate::server::Server;
use crate::site::{APPLICATION, Site};
use crate::uploads::{ask, ended, peak_mib, shell, upload};

/// Files of the package, in so many directories, of which so many differ from one build to the other.
const FILES: usize = 10_000;
const DIRECTORIES: usize = 240;
const CHANGED: usize = 100;
/// The large file, in MiB.
const LARGE_MIB: u64 = 300;

pub(crate) async fn measure(site: &Site, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut server = Server::start(site, "commits", &[]).await?;
    let files = tempfile::tempdir_in(site.directory.path())?;
    prepare(&mut server).await?;
    let (old, new) = builds(files.path()).await?;
    for (name, file) in [("old", &old), ("new", &new)] {
        let (_, job) = upload(&server, file, name, "").await?;
        ended(&mut server, &job).await?;
    }
    commit(&mut server, "old").await?;
    let by_hand = ByHand::new(files.path()).await?;
    by_hand.commit("old").await?;
    let mut figures = Vec::new();
    for round in 0..rounds {
        let name = if round % 2 == 0 { "new" } else { "old" };
        let elita = commit(&mut server, name).await?;
        figures.push((1.0 / elita.as_secs_f64(), 1.0 / by_hand.commit(name).await?.as_secs_f64()));
    }
    let what = format!("commits of {CHANGED} changed of {FILES} files");
    let comparison = Comparison::new("10", &what, "unzip, git add -A, commit and push", "/s", figures);
    report.add(comparison.goal(Goal::AtLeast(15.0)));
    clones::measure(site, &server, rounds, report).await?;
    server.stop().await?;
    // A server of its own, for the peak.
    let mut server = Server::start(site, "large_commit", &[]).await?;
    prepare(&mut server).await?;
    let before = peak_mib(&server)?;
    let large = files.path().join("large.tar");
    shell(
        &format!("head -c {LARGE_MIB}M /dev/urandom >content && tar -cf {} content && rm content", large.display()),
        files.path(),
    )
    .await?;
    let (_, job) = upload(&server, &large, "large", "").await?;
    ended(&mut server, &job).await?;
    commit(&mut server, "large").await?;
    clones::clone(&server, files.path(), "large").await?;
    let peak = peak_mib(&server)?;
    report.remark(&format!(
        "commits: {before} MiB of memory before, a peak of {peak} MiB after a file of {LARGE_MIB} MiB was uploaded, \
         committed and cloned"
    ));
    server.stop().await
}

/// A repository, and a gitdeploy of it.
pub(crate) async fn prepare(server: &mut Server) -> anyhow::Result<()> {
    ask(server, "POST", "/global/gitproviders", r#"{"name": "own", "type": "local"}"#).await?;
    let app = format!("/app/{APPLICATION}");
    ask(server, "POST", &format!("{app}/gitrepos"), r#"{"name": "site", "gitprovider": "own"}"#).await?;
    server.settled().await?;
    let gitdeploy = r#"{"name": "web", "package": "master", "location": {"path": "/srv/web", "gitrepo": "site"}}"#;
    ask(server, "POST", &format!("{app}/gitdeploys"), gitdeploy).await
}

/// From the request to the end of its job.
pub(crate) async fn commit(server: &mut Server, build: &str) -> anyhow::Result<Duration> {
    let path = format!("/app/{APPLICATION}/gitdeploys/web?commit=true&build_name={build}");
    let request = Request::post(&path, &server.database.token);
    let mut connection = Connection::to(server.address).await?;
    let began = Instant::now();
    let reply = String::from_utf8_lossy(connection.exchange(&request).await?).into_owned();
    server.settled().await?;
    let took = began.elapsed();
    let (_, job) = reply.split_once("\"job_id\":\"").context("no job")?;
    let job: String = job.chars().take(36).collect();
    ended(server, &job).await?;
    Ok(took)
}

/// Two builds that differ in some files.
async fn builds(files: &Path) -> anyhow::Result<(std::path::PathBuf, std::path::PathBuf)> {
    let script = format!(
        "import random, sys, zipfile\n\
         random.seed(1)\n\
         def content(n): return '%d\\n' % n + ''.join(random.choice('abcdefghij klmnop\\n') for _ in range(random.randint(200, 7000)))\n\
         files = {{f'd{{n % {DIRECTORIES}}}/f{{n}}.txt': content(n) for n in range({FILES})}}\n\
         def write(name):\n    \
             with zipfile.ZipFile(name, 'w', zipfile.ZIP_DEFLATED) as z:\n        \
                 for path, text in files.items(): z.writestr(path, text)\n\
         write('old.zip')\n\
         for path in random.sample(sorted(files), {CHANGED}): files[path] = content(-1)\n\
         write('new.zip')\n"
    );
    std::fs::write(files.join("builds.py"), script)?;
    shell("python3 builds.py", files).await?;
    Ok((files.join("old.zip"), files.join("new.zip")))
}

/// A clone that is kept, and what it is pushed to.
struct ByHand<'f> {
    files: &'f Path,
}

impl<'f> ByHand<'f> {
    async fn new(files: &'f Path) -> anyhow::Result<Self> {
        let script = "git -c init.defaultBranch=master init -q --bare by-hand.git && \
                      git clone -q by-hand.git by-hand 2>/dev/null";
        shell(script, files).await?;
        Ok(Self { files })
    }

    async fn commit(&self, build: &str) -> anyhow::Result<Duration> {
        let script = format!(
            "cd by-hand && git ls-files -z | xargs -0 -r rm -f && unzip -q -o ../{build}.zip && git add -A && \
             git -c user.name=a -c user.email=a@b commit -q -m x && git push -q origin HEAD:master"
        );
        shell(&script, self.files).await
    }
}
