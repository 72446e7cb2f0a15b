//! Files of builds: a large one and many small ones until they are accepted, beside what hashing and writing them takes;
//! and packages of one, beside unpacking and packing it again.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::process::Command;

use crate::report::{Comparison, Goal, Report};
use crate::server::Server;
use crate::site::{APPLICATION, Site};

/// The large file, in MiB.
const LARGE_MIB: u64 = 2048;
/// How many small ones there are, of so many bytes.
const SMALL: (usize, usize) = (1000, 20_000);
/// Files in the archive that packages are made of, and in the one with very many.
const FILES: usize = 10_000;
const MANY: usize = 190_000;

pub(crate) async fn measure(site: &Site, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut server = Server::start(site, "uploads", &["--upload-bytes", "8000000000"]).await?;
    let files = tempfile::tempdir_in(site.directory.path())?;
    large(&server, files.path(), rounds, report).await?;
    let after_large = peak_mib(&server)?;
    small(&server, files.path(), rounds, report).await?;
    packages(&mut server, files.path(), rounds, report).await?;
    report.remark(&format!("uploads: a peak of {after_large} MiB of memory after files of {LARGE_MIB} MiB"));
    server.stop().await?;
    // A server of its own, for the peak.
    let mut server = Server::start(site, "many", &[]).await?;
    let before = peak_mib(&server)?;
    many(&mut server, files.path()).await?;
    let peak = peak_mib(&server)?;
    report
        .remark(&format!("uploads: {before} MiB of memory before a zip of {MANY} files, a peak of {peak} MiB with it"));
    server.stop().await
}

/// From the request to the 202.
async fn large(server: &Server, files: &Path, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let file = files.join("large.tar");
    shell(&format!(
        "head -c {0}M /dev/urandom > block && for i in $(seq $(({LARGE_MIB} / {0}))); do cat block; done > content && tar -cf {1} content && rm content block",
        64,
        file.display()
    ), files).await?;
    let bytes = file.metadata()?.len() as f64;
    let mut figures = Vec::new();
    for round in 0..rounds {
        let elita = upload(server, &file, &format!("large-{round}"), "").await?.0;
        remove(server, &format!("large-{round}")).await?;
        let hash = shell(&format!("sha256sum {} > /dev/null", file.display()), files).await?;
        let write = format!("dd if={} of=copy bs=1M conv=fdatasync status=none", file.display());
        let write = shell(&write, files).await?;
        shell("rm copy", files).await?;
        let rate = |time: Duration| bytes / time.as_secs_f64() / 1e6;
        figures.push((rate(elita), rate(hash.max(write))));
    }
    let comparison =
        Comparison::new("8", "upload of 2 GiB, to 202", "the slower of sha256sum and dd fdatasync", "MB/s", figures);
    report.add(comparison.goal(Goal::AtLeast(0.85)));
    std::fs::remove_file(file)?;
    Ok(())
}

/// One after the other, each with a build of its own.
async fn small(server: &Server, files: &Path, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let (count, bytes) = SMALL;
    let file = files.join("small.tar.gz");
    shell(&format!("head -c {bytes} /dev/urandom > content && tar -czf {} content", file.display()), files).await?;
    let mut figures = Vec::new();
    for round in 0..rounds {
        let began = Instant::now();
        for number in 0..count {
            upload(server, &file, &format!("small-{round}-{number}"), "").await?;
        }
        let elita = began.elapsed();
        let write = format!(
            "mkdir copies && for i in $(seq {count}); do dd if={} of=copies/$i conv=fsync status=none; done",
            file.display()
        );
        let write = shell(&write, files).await?;
        shell("rm -r copies", files).await?;
        figures.push((count as f64 / elita.as_secs_f64(), count as f64 / write.as_secs_f64()));
    }
    let what = format!("uploads of {} kB one by one, to 202", bytes / 1000);
    report.add(Comparison::new("", &what, "dd conv=fsync of the same files", "/s", figures));
    Ok(())
}

/// The job, which reads the whole archive, checks it, and makes a package with half of its files.
async fn packages(server: &mut Server, files: &Path, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let file = files.join("files.zip");
    tree(files, FILES, &file).await?;
    let map = r#"{"name": "half", "packages": {"half": {"patterns": ["tree/*0/**", "tree/*2/**", "tree/*4/**", "tree/*6/**", "tree/*8/**"]}}}"#;
    ask(server, "POST", &format!("/app/{APPLICATION}/packagemaps"), map).await?;
    let mut figures = Vec::new();
    for round in 0..rounds {
        let (_, job) = upload(server, &file, &format!("packaged-{round}"), "&package_map=half").await?;
        let elita = ended(server, &job).await?;
        let by_hand = format!(
            "unzip -q {} -d unpacked && cd unpacked && zip -qry ../half.zip tree/*0 tree/*2 tree/*4 tree/*6 tree/*8 && sync -d ../half.zip",
            file.display()
        );
        let by_hand = shell(&by_hand, files).await?;
        shell("rm -r unpacked half.zip", files).await?;
        figures.push((elita.as_secs_f64(), by_hand.as_secs_f64()));
    }
    let what = format!("checking and packaging {FILES} files");
    let comparison = Comparison::new("", &what, "unzip and zip -r of the same files", "s", figures);
    report.add(comparison.goal(Goal::AtMost(1.0)));
    Ok(())
}

/// With a package of all of them.
async fn many(server: &mut Server, files: &Path) -> anyhow::Result<()> {
    let file = files.join("many.zip");
    tree(files, MANY, &file).await?;
    let map = r#"{"name": "all", "packages": {"all": {"patterns": ["**"]}}}"#;
    ask(server, "POST", &format!("/app/{APPLICATION}/packagemaps"), map).await?;
    let (_, job) = upload(server, &file, "many", "&package_map=all").await?;
    ended(server, &job).await?;
    Ok(())
}

/// A zip of so many files in a hundred directories.
async fn tree(files: &Path, count: usize, zip: &Path) -> anyhow::Result<()> {
    let script = format!(
        "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:\n    \
         for n in range({count}): z.writestr(f'tree/directory-{{n % 100}}/some-file-{{n:06}}.html', f'<p>{{n}}</p>' * 100)"
    );
    let python = Command::new("python3").args(["-c", &script]).arg(zip).current_dir(files).status().await?;
    ensure!(python.success(), "python3 could not make an archive");
    Ok(())
}

/// Returns how long it took to the 202, and the job.
pub(crate) async fn upload(
    server: &Server,
    file: &Path,
    build: &str,
    more: &str,
) -> anyhow::Result<(Duration, String)> {
    let path = format!("/app/{APPLICATION}/builds/{build}/file?create=true{more}");
    let (address, token, file) = (server.address, server.database.token.clone(), PathBuf::from(file));
    let sent = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let mut file = File::open(file)?;
        let length = file.metadata()?.len();
        let began = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "PUT {path} HTTP/1.1\r\nhost: elita\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )?;
        std::io::copy(&mut file, &mut stream)?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok((began.elapsed(), reply))
    });
    let (took, reply) = sent.await??;
    if !reply.starts_with("HTTP/1.1 202") {
        bail!("an upload was refused: {reply}");
    }
    let (_, job) = reply.split_once("\"job_id\":\"").context("no job")?;
    Ok((took, job.chars().take(36).collect()))
}

/// How long the job ran.
pub(crate) async fn ended(server: &mut Server, job: &str) -> anyhow::Result<Duration> {
    server.settled().await?;
    let ran = "select status, extract(epoch from completed_at - started_at)::float8 from jobs where id = $1::uuid";
    let (status, seconds): (String, f64) = sqlx::query_as(ran).bind(job).fetch_one(&mut server.connection).await?;
    ensure!(status == "succeeded", "the job of an upload has {status}");
    Ok(Duration::from_secs_f64(seconds))
}

async fn remove(server: &Server, build: &str) -> anyhow::Result<()> {
    let path = format!("/app/{APPLICATION}/builds/{build}");
    // Not before its job has ended.
    for _ in 0..600 {
        if ask(server, "DELETE", &path, "").await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("build {build} cannot be removed")
}

pub(crate) async fn ask(server: &Server, method: &str, path: &str, body: &str) -> anyhow::Result<()> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail-with-body", "-X", method, "-H", "content-type: application/json"]);
    curl.args(["-H", &format!("authorization: Bearer {}", server.database.token)]);
    if !body.is_empty() {
        curl.args(["--data-binary", body]);
    }
    let done = curl.arg(format!("http://{}{path}", server.address)).output().await?;
    ensure!(done.status.success(), "{method} {path}: {}", String::from_utf8_lossy(&done.stdout));
    Ok(())
}

/// Runs a script in this directory, and returns how long it took.
pub(crate) async fn shell(script: &str, directory: &Path) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let ran = Command::new("bash").args(["-ec", script]).current_dir(directory).stdin(Stdio::null()).status().await?;
    ensure!(ran.success(), "this failed: {script}");
    Ok(began.elapsed())
}

/// The most memory that the server has had.
pub(crate) fn peak_mib(server: &Server) -> anyhow::Result<u64> {
    let pid = server.pid().context("the server has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}
