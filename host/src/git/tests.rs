//! What needs no server to be tried: names, changes between trees, commits that break off.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use super::*;

const WITHIN: Duration = Duration::from_secs(60);

fn entry(content: &[u8]) -> Entry {
    Entry { mode: Mode::File, blob: BlobId::of(content) }
}

fn tree(files: &[(&str, &[u8])]) -> Tree {
    Tree(files.iter().map(|(path, content)| (path.as_bytes().to_vec(), entry(content))).collect())
}

fn text() -> CommitText {
    CommitText { message: "A\n\nB: c\n".into(), at: 1_700_000_000 }
}

async fn repository(folder: &tempfile::TempDir) -> Repository {
    let repository = Repository::at(Git::default(), folder.path().join("a.git"));
    repository.make("master").await.unwrap();
    repository
}

/// Commits a tree whose files have these contents.
async fn commit(repository: &Repository, files: &[(&str, &[u8])]) -> Result<CommitId, GitError> {
    let tip = repository.tip("master").await.unwrap();
    let before = match &tip {
        Some(tip) => repository.tree(tip).await.unwrap(),
        None => Tree::default(),
    };
    let change = TreeChange::between(&before, &tree(files))?;
    let contents: BTreeMap<BlobId, Vec<u8>> =
        files.iter().map(|(_, content)| (BlobId::of(content), content.to_vec())).collect();
    let bring = move |wanted: &mut Contents| {
        contents.iter().try_for_each(|(blob, content)| wanted.bring(blob, content.len() as u64, &mut &**content))
    };
    let made = repository.commit("master", tip.as_ref(), change, text(), WITHIN, bring).await?;
    made.map_err(GitError::Io)
}

fn git(repository: &Repository, arguments: &[&str]) -> String {
    let output = Command::new("git").arg("--git-dir").arg(repository.path()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_repository_is_made_and_removed_as_often_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder).await;
    repository.make("other").await.unwrap();
    assert_eq!(git(&repository, &["symbolic-ref", "HEAD"]).trim(), "refs/heads/master");
    assert!(!repository.path().join("hooks").exists());
    repository.remove().await.unwrap();
    repository.remove().await.unwrap();
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    assert!(matches!(repository.tip("master").await, Err(GitError::Gone)));
}

#[tokio::test]
async fn a_branch_is_not_taken_for_one_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder).await;
    commit(&repository, &[("a", b"1")]).await.unwrap();
    git(&repository, &["branch", "release/1", "master"]);
    assert!(repository.tip("release/1").await.unwrap().is_some());
    assert!(repository.tip("release").await.unwrap().is_none());
}

#[tokio::test]
async fn a_file_becomes_a_directory_and_one_again() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder).await;
    let rounds: [&[(&str, &[u8])]; 3] = [&[("a", b"1")], &[("a/b", b"2"), ("a/c", b"3")], &[("a", b"4")]];
    for files in rounds {
        let made = commit(&repository, files).await.unwrap();
        assert_eq!(repository.tree(&made).await.unwrap(), tree(files));
    }
    git(&repository, &["fsck", "--strict"]);
}

#[tokio::test]
async fn names_that_need_quotes_arrive_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder).await;
    let files: &[(&str, &[u8])] =
        &[("\"a\"", b"1"), (" a ", b"2"), ("ä\u{1f600}", b"3"), ("a\tb", b"4"), ("-x", b"5"), ("a/\"b", b"6")];
    let made = commit(&repository, files).await.unwrap();
    assert_eq!(repository.tree(&made).await.unwrap(), tree(files));
}

#[tokio::test]
async fn names_that_a_clone_refuses_are_refused_before() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder).await;
    for path in [
        ".git/hooks/x",
        "a/.git/x",
        ".GIT/config",
        "git~1/x",
        ".git /x",
        ".git./x",
        ".git::$INDEX_ALLOCATION/x",
        ".g\u{200c}it/x",
        "../x",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "./a",
        "",
        "a\\b",
        "a\nb",
    ] {
        let refused = commit(&repository, &[("ok", b"1"), (path, b"2")]).await;
        assert!(matches!(refused, Err(GitError::Refused(_))), "{path:?}: {refused:?}");
    }
    let mut modules = tree(&[]);
    modules.0.insert(b"a/.gitmodules".to_vec(), Entry { mode: Mode::Link, blob: BlobId::of(b"x") });
    assert!(matches!(TreeChange::between(&Tree::default(), &modules), Err(GitError::Refused(_))));
    assert!(repository.tip("master").await.unwrap().is_none());
    commit(&repository, &[(".gitignore", b"1"), (".github/x", b"2"), ("a.git/x", b"3")]).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_breaks_off_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder).await;
    let first = commit(&repository, &[("a", b"1")]).await.unwrap();
    let change = || TreeChange::between(&tree(&[("a", b"1")]), &tree(&[("a", b"2"), ("b", b"3")])).unwrap();
    let broken = |wanted: &mut Contents| {
        let blob = BlobId::of(b"2");
        // It says to be longer than it is.
        wanted.bring(&blob, 2, &mut &b"2"[..])
    };
    let ended = repository.commit("master", Some(&first), change(), text(), WITHIN, broken).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    let half = |wanted: &mut Contents| wanted.bring(&BlobId::of(b"2"), 1, &mut &b"2"[..]);
    let ended = repository.commit("master", Some(&first), change(), text(), WITHIN, half).await;
    assert!(matches!(ended, Err(GitError::Refused(_))), "{ended:?}");
    // What is not what it was taken for is noticed, too. Its right content must not be there from before.
    let third = TreeChange::between(&tree(&[("a", b"1")]), &tree(&[("a", b"4")])).unwrap();
    let other = |wanted: &mut Contents| wanted.bring(&BlobId::of(b"4"), 1, &mut &b"x"[..]);
    let ended = repository.commit("master", Some(&first), third, text(), WITHIN, other).await;
    assert!(matches!(ended, Err(GitError::Failed { .. })), "{ended:?}");
    assert_eq!(repository.tip("master").await.unwrap(), Some(first));
    repository.clean().await.unwrap();
    assert!(
        !std::fs::read_dir(repository.path())
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().starts_with("fast_import_crash_") })
    );
}

#[tokio::test]
async fn what_somebody_else_has_committed_meanwhile_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder).await;
    let first = commit(&repository, &[("a", b"1")]).await.unwrap();
    let second = commit(&repository, &[("a", b"2")]).await.unwrap();
    let change = TreeChange::between(&tree(&[("a", b"1")]), &tree(&[("a", b"3")])).unwrap();
    let bring = |wanted: &mut Contents| wanted.bring(&BlobId::of(b"3"), 1, &mut &b"3"[..]);
    let ended = repository.commit("master", Some(&first), change, text(), WITHIN, bring).await;
    assert!(matches!(ended, Err(GitError::Moved { .. })), "{ended:?}");
    assert_eq!(repository.tip("master").await.unwrap(), Some(second));
}

#[tokio::test]
async fn what_a_killed_writer_has_left_hinders_no_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder).await;
    commit(&repository, &[("a", b"1")]).await.unwrap();
    for left in ["refs/heads/master.lock", "objects/pack/tmp_pack_abc", "fast_import_crash_7", "packed-refs.lock"] {
        std::fs::write(repository.path().join(left), "").unwrap();
    }
    assert!(commit(&repository, &[("a", b"2")]).await.is_err());
    repository.clean().await.unwrap();
    commit(&repository, &[("a", b"2")]).await.unwrap();
    assert!(!repository.path().join("objects/pack/tmp_pack_abc").exists());
}

#[tokio::test]
async fn the_log_and_the_changes_are_read_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder).await;
    commit(&repository, &[("a", b"1\n"), ("b", b"1\n"), ("bin", b"\0\x01")]).await.unwrap();
    let second = commit(&repository, &[("a", b"1\n2\n"), ("c", b"1\n"), ("bin", b"\0\x02")]).await.unwrap();
    let log = repository.log(&second, false, 1).await.unwrap();
    assert_eq!((&log.items[0].id, log.has_more), (&second, true));
    assert_eq!(log.items[0].message, "A\n\nB: c");
    let rest = repository.log(&second, true, 5).await.unwrap();
    assert_eq!((rest.items.len(), rest.has_more, rest.items[0].parents.len()), (1, false, 0));
    let all = repository.diff(None, &second, None, 9, WITHIN).await.unwrap();
    let seen: Vec<_> =
        all.items.iter().map(|file| (&*file.path, file.status, file.insertions, file.deletions)).collect();
    let expected = [
        ("a", FileStatus::Modified, Some(1), Some(0)),
        ("b", FileStatus::Deleted, Some(0), Some(1)),
        ("bin", FileStatus::Modified, None, None),
        ("c", FileStatus::Added, Some(1), Some(0)),
    ];
    assert_eq!(seen, expected);
    let part = repository.diff(None, &second, Some("a"), 1, WITHIN).await.unwrap();
    assert_eq!((&*part.items[0].path, part.items[0].deletions, part.has_more), ("b", Some(1), true));
    let found = repository.find_by_line("master", "B: c").await.unwrap();
    assert_eq!(found, Some(second));
    assert_eq!(repository.find_by_line("master", "B: d").await.unwrap(), None);
}

#[test]
fn lines_are_added_to_a_gitignore_once() {
    let lines = ["*.log".to_owned(), "/tmp".to_owned()];
    for (own, whole) in [
        (None, Some("*.log\n/tmp\n")),
        (Some("a"), Some("a\n*.log\n/tmp\n")),
        (Some("a\n"), Some("a\n*.log\n/tmp\n")),
        (Some("a\n*.log\n/tmp\n"), None),
        (Some("a*.log\n/tmp\n"), Some("a*.log\n/tmp\n*.log\n/tmp\n")),
    ] {
        let mut files = tree(&[("x", b"1")]);
        if let Some(own) = own {
            files.0.insert(b".gitignore".to_vec(), entry(own.as_bytes()));
        }
        let added = Ignored::add(&mut files, own.map(str::as_bytes), &lines).unwrap();
        assert_eq!(added.map(|added| String::from_utf8(added.content).unwrap()).as_deref(), whole, "{own:?}");
        let content = whole.or(own).unwrap();
        assert_eq!(files.0[&b".gitignore"[..]], entry(content.as_bytes()));
    }
    let mut files = tree(&[(".gitignore/x", b"1")]);
    assert!(Ignored::add(&mut files, None, &lines).is_err());
    assert!(Ignored::add(&mut files, None, &[]).unwrap().is_none());
}
