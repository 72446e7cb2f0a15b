//! Archives that are good, and archives that are meant to do harm.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::process::Command;

use ::tar::{Builder, EntryType, Header};
use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

mod fuzz;
mod refusals;
mod tools;

const LIMITS: ArchiveLimits =
    ArchiveLimits { entries: 1000, unpacked_bytes: 1 << 20, names_bytes: 1 << 16, packages_factor: 10 };
const TYPES: [FileType; 6] =
    [FileType::Zip, FileType::Tar, FileType::TarGz, FileType::TarBz2, FileType::TarXz, FileType::TarZst];

#[test]
fn what_is_in_an_archive_is_told() {
    let tree = [("a/b.txt", Some("bee")), ("empty/", None), ("c", Some(""))];
    for file_type in TYPES {
        let contents = look(&archive(file_type, &tree), file_type).unwrap();
        assert_eq!(
            (contents.files, contents.warnings),
            (vec!["a/b.txt".to_owned(), "c".into()], vec![]),
            "{file_type}"
        );
    }
}

#[test]
fn what_gnu_tar_writes_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let long = format!("deep/{}/{}/file", "x".repeat(120), "y".repeat(120));
    for path in ["run.sh", &long] {
        let path = directory.path().join("tree").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "content").unwrap();
    }
    std::os::unix::fs::symlink("run.sh", directory.path().join("tree/link")).unwrap();
    std::fs::hard_link(directory.path().join("tree/run.sh"), directory.path().join("tree/same")).unwrap();
    for (format, compress, file_type) in
        [("gnu", "-z", FileType::TarGz), ("posix", "-z", FileType::TarGz), ("posix", "-j", FileType::TarBz2)]
    {
        let made = directory.path().join("made");
        let (format, tree) = (format!("--format={format}"), directory.path().join("tree"));
        let arguments =
            [&*format, "--sort=name", compress, "-cf", made.to_str().unwrap(), "-C", tree.to_str().unwrap(), "."];
        let tar = Command::new("tar").args(arguments).status();
        assert!(tar.unwrap().success());
        let contents = look(&std::fs::read(made).unwrap(), file_type).unwrap();
        assert_eq!(contents.files, [&long, "link", "run.sh", "same"], "{format}");
    }
}

#[test]
fn compressed_files_of_several_parts_are_taken() {
    for (file_type, compress) in [(FileType::TarGz, gzip as fn(&[u8]) -> Vec<u8>), (FileType::TarBz2, bzip2)] {
        let tar = tar_of(&[("a", Some("content"))]);
        let (begin, end) = tar.split_at(700);
        let contents = look(&[compress(begin), compress(end)].concat(), file_type).unwrap();
        assert_eq!(contents.files, ["a"]);
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = "x".repeat(256);
    for (name, why) in [
        ("../evil", "`..`"),
        ("a/../../evil", "`..`"),
        ("/etc/passwd", "absolute"),
        ("//etc/passwd", "absolute"),
        ("a\\..\\b", "backslash"),
        ("C:evil", "drive"),
        ("a\nb", "control character"),
        ("a\u{1b}[2Jb", "control character"),
        (".git/hooks/post-checkout", "git"),
        ("sub/.GIT/config", "git"),
        ("sub/.git ./config", "git"),
        ("sub/git~1/config", "git"),
        ("sub/.g\u{200c}it/config", "git"),
        ("sub/.git::$INDEX_ALLOCATION/config", "git"),
        (&long, "255"),
    ] {
        for file_type in TYPES {
            // Which backslashes mean something else in.
            if file_type == FileType::Zip && name.contains('\\') {
                continue;
            }
            let refused = refusal(&archive(file_type, &[(name, Some("x"))]), file_type);
            assert!(refused.contains(why) && !refused.contains(['\n', '\u{1b}']), "{name:?} in {file_type}: {refused}");
        }
    }
    for name in [&b"a\0b"[..], b"\xff\xfe"] {
        let refused = refusal(&gzip(&raw_tar(name, EntryType::Regular, "", b"")), FileType::TarGz);
        assert!(refused.contains("UTF-8") || name.contains(&0), "{refused}");
    }
    for name in [&b"a\0b"[..], b"..\\x", b"\x84\\..\\x"] {
        refusal(&raw_zip(name), FileType::Zip);
    }
}

#[test]
fn names_that_are_in_it_twice_are_refused() {
    let tar = [tar_member("a", EntryType::Regular, "", b"1"), tar_member("a", EntryType::Regular, "", b"2"), end()];
    assert!(refusal(&gzip(&tar.concat()), FileType::TarGz).contains("`a` is in it twice, and not the same"));
    let twice = archive(FileType::Zip, &[("one", Some("1")), ("two", Some("2"))]);
    assert!(refusal(&replaced(&twice, b"two", b"one"), FileType::Zip).contains("`one` is in it twice"));
    let tar = [tar_member("a/", EntryType::Directory, "", b""), tar_member("a", EntryType::Regular, "", b"2"), end()];
    assert!(refusal(&gzip(&tar.concat()), FileType::TarGz).contains("two different things"));
}

#[test]
fn names_that_differ_by_case_are_told() {
    let contents = look(&archive(FileType::Zip, &[("Makefile", Some("")), ("makefile", Some(""))]), FileType::Zip);
    assert_eq!(
        contents.unwrap().warnings,
        ["`Makefile` and `makefile` are the same file on systems that take no notice of case"]
    );
}

#[test]
fn a_link_stays_in_the_archive() {
    for (path, target, taken) in [
        ("a/link", "../b", true),
        ("a/link", "b/c", true),
        ("link", "../b", false),
        ("a/link", "../../b", false),
        ("a/link", "/etc/passwd", false),
        ("a/link", "b/../../../c", false),
        ("a/link", "b/../c", true),
        ("a/link", "b/../../c", true),
        ("a/link", "b/./c", true),
        ("a/link", "Foo::Bar.3", true),
        ("a/link", "c:/windows", false),
        ("a/link", "..\\..\\b", false),
        ("a/link", "../.git/config", false),
        ("a/link", "", false),
    ] {
        let tar = gzip(&[tar_member(path, EntryType::Symlink, target, b""), end()].concat());
        assert_eq!(look(&tar, FileType::TarGz).is_ok(), taken, "{target} in a tar");
        let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.add_symlink(path, target, SimpleFileOptions::default()).unwrap();
        let zip = zip.finish().unwrap().into_inner();
        assert_eq!(look(&zip, FileType::Zip).is_ok(), taken, "{target} in a zip");
    }
}

#[test]
fn nothing_goes_through_a_link_or_a_file() {
    for first in [tar_member("a", EntryType::Symlink, "b", b""), tar_member("a", EntryType::Regular, "", b"")] {
        for second in
            [tar_member("a/evil", EntryType::Regular, "", b"x"), tar_member("a/", EntryType::Directory, "", b"")]
        {
            refusal(&gzip(&[first.clone(), second.clone(), end()].concat()), FileType::TarGz);
            refusal(&gzip(&[second, first.clone(), end()].concat()), FileType::TarGz);
        }
    }
}

#[test]
fn a_hard_link_is_to_an_earlier_file() {
    let (file, link) = (tar_member("a", EntryType::Regular, "", b"x"), tar_member("b", EntryType::Link, "a", b""));
    let good = gzip(&[file.clone(), link.clone(), end()].concat());
    assert_eq!(look(&good, FileType::TarGz).unwrap().files, ["a", "b"]);
    assert!(refusal(&gzip(&[link, file, end()].concat()), FileType::TarGz).contains("not a file before it"));
    let outside = gzip(&[tar_member("b", EntryType::Link, "../../etc/passwd", b""), end()].concat());
    assert!(refusal(&outside, FileType::TarGz).contains("not a file before it"));
}

#[test]
fn what_is_no_file_is_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::GNUSparse, EntryType::new(b'Z')] {
        refusal(&gzip(&[tar_member("a", kind, "", b""), end()].concat()), FileType::TarGz);
    }
    let mut zip = archive(FileType::Zip, &[("fifo", Some(""))]);
    let at = position(&zip, b"PK\x01\x02") + 38;
    zip[at..at + 4].copy_from_slice(&(0o010_644_u32 << 16).to_le_bytes());
    zip[at - 33] = 3;
    assert!(refusal(&zip, FileType::Zip).contains("neither a file"));
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let pax = tar_member("x", EntryType::XHeader, "", b"12 size=999\n");
    let tar = [pax, tar_member("a", EntryType::Regular, "", b"content"), end()].concat();
    assert!(refusal(&gzip(&tar), FileType::TarGz).contains("different sizes"));
    let sparse = tar_member("x", EntryType::XHeader, "", b"22 GNU.sparse.major=1\n");
    let tar = [sparse, tar_member("a", EntryType::Regular, "", b"content"), end()].concat();
    assert!(refusal(&gzip(&tar), FileType::TarGz).contains("sparse"));
    let two = tar_member("x", EntryType::XHeader, "", b"10 path=a\n");
    let tar = [two.clone(), two, tar_member("b", EntryType::Regular, "", b""), end()].concat();
    assert!(refusal(&gzip(&tar), FileType::TarGz).contains("two headers"));
}

#[test]
fn a_header_of_a_zip_that_says_something_else_than_the_directory_is_refused() {
    let good = archive(FileType::Zip, &[("innocent", Some("content"))]);
    let mut name = good.clone();
    let at = position(&name, b"innocent");
    name[at..at + 8].copy_from_slice(b"guilty!!");
    let mut size = good.clone();
    size[22] ^= 1;
    let mut method = good.clone();
    method[8] ^= 8;
    for bad in [name, size, method] {
        refusal(&bad, FileType::Zip);
    }
}

#[test]
fn entries_of_a_zip_that_overlap_are_refused() {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("a", SimpleFileOptions::default()).unwrap();
    zip.write_all(&[0; 1000]).unwrap();
    zip.shallow_copy_file("a", "b").unwrap();
    refusal(&zip.finish().unwrap().into_inner(), FileType::Zip);
}

#[test]
fn a_member_of_a_zip_that_its_directory_does_not_have_is_refused() {
    let hidden = zip_stored(&[("a", "content"), ("hidden", "content")]);
    let (first, second) = (position(&hidden, b"PK\x01\x02"), hidden.len() - 22 - (46 + 6));
    let directory = &hidden[first..second];
    let size = u32::try_from(directory.len()).unwrap().to_le_bytes();
    let place = u32::try_from(first).unwrap().to_le_bytes();
    let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &size, &place, &[0; 2]].concat();
    let refused = refusal(&[&hidden[..first], directory, &end].concat(), FileType::Zip);
    assert!(refused.contains("is not in the directory"), "{refused}");
}

#[test]
fn what_is_encrypted_is_refused() {
    let mut zip = archive(FileType::Zip, &[("a", Some("content"))]);
    let central = position(&zip, b"PK\x01\x02");
    zip[6] |= 1;
    zip[central + 8] |= 1;
    assert!(refusal(&zip, FileType::Zip).contains("encrypted"));
}

#[test]
fn bombs_are_given_up_early() {
    let zeros = vec![0; 64 << 20];
    for file_type in TYPES {
        let bomb = match file_type {
            FileType::Zip => zip_of(&[("a", &zeros)]),
            _ => compressed(file_type, &[tar_member("a", EntryType::Regular, "", &zeros), end()].concat()),
        };
        assert!(bomb.len() < 1 << 20 || file_type == FileType::Tar);
        assert!(matches!(look(&bomb, file_type), Err(ArchiveError::TooMuch(_))), "{file_type}");
    }
    // What comes after the end of a tar is read, too.
    let tail = gzip(&[tar_member("a", EntryType::Regular, "", b""), end(), zeros].concat());
    assert!(matches!(look(&tail, FileType::TarGz), Err(ArchiveError::TooMuch(_))));
}

#[test]
fn very_many_members_are_refused() {
    let names: Vec<_> = (0..1001).map(|number| format!("{number}")).collect();
    let tree: Vec<_> = names.iter().map(|name| (&**name, Some(""))).collect();
    for file_type in TYPES {
        let refused = look(&archive(file_type, &tree), file_type);
        assert!(matches!(refused, Err(ArchiveError::TooMuch(_))), "{file_type}");
    }
    let long: Vec<_> = (0..400).map(|number| format!("{}{number}", "x".repeat(200))).collect();
    let tree: Vec<_> = long.iter().map(|name| (&**name, Some(""))).collect();
    assert!(matches!(look(&archive(FileType::Zip, &tree), FileType::Zip), Err(ArchiveError::TooMuch(_))));
    let name = tar_member("x", EntryType::GNULongName, "", &vec![b'a'; 100_000]);
    assert!(matches!(look(&gzip(&name), FileType::TarGz), Err(ArchiveError::TooMuch(_))));
}

#[test]
fn what_is_cut_off_or_damaged_is_refused() {
    for file_type in TYPES {
        let good = archive(file_type, &[("a", Some("content")), ("b", Some("more"))]);
        // Of zeros at the end there may be fewer.
        let short = if file_type == FileType::Tar { 1024 } else { 1 };
        for length in [0, 3, 20, good.len() / 3, good.len() - short] {
            assert!(look(&good[..length], file_type).is_err(), "{length} bytes of {file_type}");
        }
    }
    let zip = zip_stored(&[("a", "content")]);
    assert!(matches!(look(&replaced(&zip, b"content", b"CONTENT"), FileType::Zip), Err(ArchiveError::Damaged(_))));
    let without_end = tar_member("a", EntryType::Regular, "", b"content");
    assert!(refusal(&gzip(&without_end), FileType::TarGz).contains("end"));
}

#[test]
fn what_is_around_an_archive_is_refused() {
    for file_type in TYPES {
        let good = archive(file_type, &[("a", Some("content"))]);
        refusal(&[&good[..], b"garbage"].concat(), file_type);
        refusal(&[b"garbage", &good[..]].concat(), file_type);
    }
    let hidden = gzip(&[tar_of(&[("a", Some(""))]), tar_of(&[("hidden", Some(""))])].concat());
    assert!(refusal(&hidden, FileType::TarGz).contains("goes on after the end"));
    let zip = archive(FileType::Zip, &[("a", Some(""))]);
    refusal(&[zip.clone(), zip].concat(), FileType::Zip);
}

#[test]
fn a_file_that_is_something_else_is_told_apart() {
    let refused = refusal(&archive(FileType::TarGz, &[("a", Some(""))]), FileType::Zip);
    assert!(refused.contains("sent as `zip`, and looks like `tar.gz`"), "{refused}");
    assert!(refusal(b"hello", FileType::TarBz2).contains("does not begin like one"));
    assert!(refusal(&gzip(b"no tar at all, but longer than nothing"), FileType::TarGz).contains("damaged"));
    for file_type in TYPES {
        assert!(refusal(&archive(file_type, &[("empty/", None)]), file_type).contains("no file"), "{file_type}");
    }
}

#[test]
fn work_that_nobody_waits_for_ends() {
    for file_type in TYPES {
        let file = file_with(&archive(file_type, &[("a", Some("content"))]));
        let ended = inspect(file, file_type, &LIMITS, &AtomicBool::new(true), &mut |_, _| Ok(()));
        assert!(matches!(ended, Err(ArchiveError::Stopped)), "{file_type}: {ended:?}");
    }
}

#[test]
fn a_package_has_what_its_patterns_match_under_its_own_names() {
    let tree = [
        ("web/", None),
        ("web/index.html", Some("<h1>")),
        ("web/css/main.css", Some("h1 {}")),
        ("bin/tool", Some("#!")),
        ("LICENSE", Some("Apache")),
    ];
    let all = Selection {
        patterns: vec!["web".into(), "web/**".into(), "*".into(), "none/*".into()],
        ..Selection::default()
    };
    let moved = Selection {
        patterns: vec!["web/**".into()],
        remove_prefix: Some("web/".into()),
        prefix: Some("htdocs/".into()),
    };
    for file_type in TYPES {
        let (packaged, files) =
            packed(&archive(file_type, &tree), file_type, vec![all.clone(), moved.clone()]).unwrap();
        assert_eq!(tree_of(&files[0], file_type), ["LICENSE", "web/", "web/css/main.css", "web/index.html"]);
        assert_eq!(tree_of(&files[1], file_type), ["htdocs/css/main.css", "htdocs/index.html"]);
        assert_eq!((packaged[0].files, &packaged[0].unmatched), (3, &vec!["none/*".to_owned()]), "{file_type}");
        let (_, again) = packed(&archive(file_type, &tree), file_type, vec![all.clone(), moved.clone()]).unwrap();
        assert!(files == again, "{file_type}: the same comes to other bytes");
    }
}

#[test]
fn a_package_of_names_that_cannot_be_is_refused() {
    let tree = [("a/x", Some("1")), ("x", Some("2"))];
    for (prefix, remove_prefix, why) in [
        (None, Some("a/"), "`x` becomes `x` as `a/x` does: `x` is in it twice"),
        (Some("../"), None, "`..`"),
        (Some(".git/"), None, "git"),
        (None, Some("a"), "absolute"),
    ] {
        let selection = Selection {
            patterns: vec!["**".into()],
            remove_prefix: remove_prefix.map(str::to_owned),
            prefix: prefix.map(str::to_owned),
        };
        for file_type in TYPES {
            let refused =
                packed(&archive(file_type, &tree), file_type, vec![selection.clone()]).err().unwrap().to_string();
            assert!(refused.contains(why), "{file_type}: {refused}");
        }
    }
}

#[test]
fn modes_times_and_links_survive_and_setuid_does_not() {
    let mut header = Header::new_gnu();
    header.set_mode(0o4755);
    header.set_mtime(1_700_000_000);
    header.set_size(2);
    let mut tar = Builder::new(Vec::new());
    tar.append_data(&mut header, "run", &b"#!"[..]).unwrap();
    let tar = [tar.into_inner().unwrap()[..1024].to_vec(), tar_member("link", EntryType::Symlink, "run", b""), end()];
    let everything = Selection { patterns: vec!["**".into()], ..Selection::default() };
    let (_, files) = packed(&gzip(&tar.concat()), FileType::TarGz, vec![everything.clone()]).unwrap();
    let mut packed_tar = ::tar::Archive::new(flate2::read::GzDecoder::new(&files[0][..]));
    let entries: Vec<_> = packed_tar
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            (header.mode().unwrap(), header.mtime().unwrap(), entry.link_name().unwrap().map(|name| name.into_owned()))
        })
        .collect();
    assert_eq!(entries, [(0o755, 1_700_000_000, None), (0o644, 0, Some("run".into()))]);

    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, mode) in [("plain", 0o755), ("special", 0o755)] {
        zip.start_file(name, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
        zip.write_all(b"#!").unwrap();
    }
    let mut zip = zip.finish().unwrap().into_inner();
    let second = zip.windows(4).enumerate().filter(|(_, bytes)| bytes == b"PK\x01\x02").nth(1).unwrap().0;
    zip[second + 38..second + 42].copy_from_slice(&(0o104_755_u32 << 16).to_le_bytes());
    let (_, files) = packed(&zip, FileType::Zip, vec![everything]).unwrap();
    let mut packed_zip = ::zip::ZipArchive::new(std::io::Cursor::new(&files[0])).unwrap();
    for name in ["plain", "special"] {
        let mut entry = packed_zip.by_name(name).unwrap();
        assert_eq!(entry.unix_mode().unwrap() & 0o7777, 0o755, "{name}");
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        assert_eq!(content, "#!");
    }
}

#[test]
fn a_hard_link_goes_into_a_package_with_its_file_or_its_content() {
    let file = tar_member("a/file", EntryType::Regular, "", b"x");
    let links = ["b/other", "b/same"].map(|name| tar_member(name, EntryType::Link, "a/file", b""));
    let master = gzip(&[file, links.concat(), tar_member("b/z", EntryType::Regular, "", b"z"), end()].concat());
    let both = Selection { patterns: vec!["**".into()], prefix: Some("p/".into()), remove_prefix: None };
    let (_, files) = packed(&master, FileType::TarGz, vec![both]).unwrap();
    assert_eq!(tree_of(&files[0], FileType::TarGz), ["p/a/file", "p/b/other", "p/b/same", "p/b/z"]);
    let one = Selection { patterns: vec!["b/*".into()], ..Selection::default() };
    let (packaged, files) = packed(&master, FileType::TarGz, vec![one]).unwrap();
    assert_eq!(packaged[0].files, 3);
    assert_eq!(
        unpacked(&files[0], "-z"),
        [("b/other".into(), "x".into()), ("b/same".into(), "x".into()), ("b/z".into(), "z".into())]
    );
}

#[test]
fn a_hard_link_to_a_link_is_one_like_it() {
    let link = tar_member("a/link", EntryType::Symlink, "file", b"");
    let hard = tar_member("b/link", EntryType::Link, "a/link", b"");
    let files = ["a/file", "b/file"].map(|name| tar_member(name, EntryType::Regular, "", name.as_bytes()));
    let master = gzip(&[files.concat(), link, hard, end()].concat());
    assert_eq!(look(&master, FileType::TarGz).unwrap().files, ["a/file", "b/file", "a/link", "b/link"]);
    let one = Selection { patterns: vec!["b/*".into()], ..Selection::default() };
    let (_, files) = packed(&master, FileType::TarGz, vec![one]).unwrap();
    assert_eq!(unpacked(&files[0], "-z"), [("b/file".into(), "b/file".into()), ("b/link".into(), "b/file".into())]);
    // From where it is, it leads elsewhere.
    let link = tar_member("a/link", EntryType::Symlink, "../x", b"");
    let hard = tar_member("link", EntryType::Link, "a/link", b"");
    assert!(refusal(&gzip(&[link, hard, end()].concat()), FileType::TarGz).contains("leads out of the archive"));
}

#[test]
fn directories_that_come_to_the_same_name_in_a_package_are_one() {
    let tree = [("a/x/", None), ("a/x/1", Some("1")), ("x/", None), ("x/2", Some("2"))];
    let merged = Selection { patterns: vec!["**".into()], remove_prefix: Some("a/".into()), prefix: None };
    for file_type in TYPES {
        let (_, files) = packed(&archive(file_type, &tree), file_type, vec![merged.clone()]).unwrap();
        assert_eq!(tree_of(&files[0], file_type), ["x/", "x/1", "x/2"], "{file_type}");
    }
}

#[test]
fn packaging_that_nobody_waits_for_ends() {
    for file_type in TYPES {
        let master = archive(file_type, &[("a", Some("content"))]);
        let everything = Selection { patterns: vec!["**".into()], ..Selection::default() };
        let given = vec![(everything, tempfile::tempfile().unwrap())];
        let ended = package(file_with(&master), file_type, &LIMITS, given, 0, &AtomicBool::new(true));
        assert!(matches!(ended, Err(ArchiveError::Stopped)), "{file_type}: {ended:?}");
    }
}

#[test]
fn a_name_beside_the_one_in_the_header_is_refused() {
    for (other, taken) in [("innocent", true), ("guilty!!", false), ("longer than the other", false)] {
        let crc = zip_crc(b"innocent").to_le_bytes();
        let field = [&[1][..], &crc, other.as_bytes()].concat();
        let mut options = SimpleFileOptions::default().into_full_options();
        options.add_extra_field(0x7075, &field, false).unwrap();
        let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("innocent", options).unwrap();
        let zip = zip.finish().unwrap().into_inner();
        assert_eq!(look(&zip, FileType::Zip).is_ok(), taken, "{other}");
    }
}

/// Random trees and patterns, packaged and compared with what a loop over the names comes to.
#[test]
fn packaging_agrees_with_a_naive_one() {
    let mut rng = StdRng::seed_from_u64(17);
    let parts = ["a", "b", "web", "x.html", "y.css"];
    let patterns = ["**", "*", "a/*", "a/**", "**/*.css", "web/**/x.html", "?", "{a,b}/**", "b"];
    for round in 0..150 {
        let mut tree: BTreeMap<String, Option<String>> = BTreeMap::new();
        for number in 0..rng.random_range(1..12) {
            let depth = rng.random_range(1..4);
            let path: Vec<_> = (0..depth).map(|_| *parts.choose(&mut rng).unwrap()).collect();
            let path = path.join("/");
            let clashes = |other: &String| {
                format!("{other}/").starts_with(&format!("{path}/"))
                    || format!("{path}/").starts_with(&format!("{other}/"))
            };
            if !tree.keys().any(clashes) {
                tree.insert(path, Some(format!("content {number}")));
            }
        }
        let tree: Vec<_> = tree.iter().map(|(path, content)| (&**path, content.as_deref())).collect();
        let selection = Selection {
            patterns: (0..rng.random_range(1..4)).map(|_| (*patterns.choose(&mut rng).unwrap()).to_owned()).collect(),
            remove_prefix: [None, Some("a/".to_owned()), Some("web/".into())].choose(&mut rng).unwrap().clone(),
            prefix: [None, Some("p/".to_owned())].choose(&mut rng).unwrap().clone(),
        };
        let expected = naive(&tree, &selection);
        let file_type = TYPES[round % TYPES.len()];
        match (packed(&archive(file_type, &tree), file_type, vec![selection.clone()]), expected) {
            (Ok((packaged, files)), Some(expected)) => {
                assert_eq!(contents_of(&files[0], file_type), expected, "{tree:?} {selection:?}");
                assert_eq!(packaged[0].files as usize, expected.len());
            }
            (Err(ArchiveError::Refused(_)), None) => {}
            (found, expected) => panic!("{tree:?} {selection:?}: {found:?} instead of {expected:?}"),
        }
    }
}

/// The files that GNU tar unpacks, with what is read from them.
fn unpacked(archive: &[u8], compression: &str) -> Vec<(String, String)> {
    let directory = tempfile::tempdir().unwrap();
    let (file, tree) = (directory.path().join("archive"), directory.path().join("tree"));
    std::fs::write(&file, archive).unwrap();
    std::fs::create_dir(&tree).unwrap();
    let tar = Command::new("tar").args([compression, "-xf"]).arg(&file).arg("-C").arg(&tree).output().unwrap();
    assert!(tar.status.success(), "{tar:?}");
    let found =
        Command::new("find").args(["-L", ".", "-type", "f", "-printf", "%P\\n"]).current_dir(&tree).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let mut files: Vec<_> =
        found.lines().map(|path| (path.to_owned(), std::fs::read_to_string(tree.join(path)).unwrap())).collect();
    files.sort();
    files
}

/// None: two files come to the same name, or one would be below the other.
fn naive(tree: &[(&str, Option<&str>)], selection: &Selection) -> Option<BTreeMap<String, String>> {
    let mut packed = BTreeMap::new();
    for (path, content) in tree {
        let matches = |pattern: &String| {
            globset::GlobBuilder::new(pattern).literal_separator(true).build().unwrap().compile_matcher().is_match(path)
        };
        if selection.patterns.iter().any(matches) {
            let removed =
                selection.remove_prefix.as_deref().and_then(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
            let name = format!("{}{removed}", selection.prefix.as_deref().unwrap_or_default());
            if packed.insert(name, content.unwrap().to_owned()).is_some() {
                return None;
            }
        }
    }
    let below = |name: &String| packed.keys().any(|other: &String| name.starts_with(&format!("{other}/")));
    (!packed.keys().any(below)).then_some(packed)
}

fn look(bytes: &[u8], file_type: FileType) -> Result<Contents, ArchiveError> {
    inspect(file_with(bytes), file_type, &LIMITS, &AtomicBool::new(false), &mut |_, _| Ok(()))
}

fn refusal(bytes: &[u8], file_type: FileType) -> String {
    match look(bytes, file_type) {
        Err(error @ (ArchiveError::Refused(_) | ArchiveError::Damaged(_))) => error.to_string(),
        other => panic!("this {file_type} is taken, or fails otherwise: {other:?}"),
    }
}

type Packages = (Vec<Packaged>, Vec<Vec<u8>>);

fn packed(master: &[u8], file_type: FileType, selections: Vec<Selection>) -> Result<Packages, ArchiveError> {
    look(master, file_type).unwrap();
    let outputs: Vec<_> = selections.iter().map(|_| tempfile::tempfile().unwrap()).collect();
    let given = selections.into_iter().zip(outputs.iter().map(|file| file.try_clone().unwrap())).collect();
    let packaged = package(file_with(master), file_type, &LIMITS, given, 0, &AtomicBool::new(false))?;
    let read = |mut file: File| {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    Ok((packaged, outputs.into_iter().map(read).collect()))
}

/// All paths in an archive, with a slash after directories.
fn tree_of(bytes: &[u8], file_type: FileType) -> Vec<String> {
    let mut paths = Vec::new();
    visit(bytes, file_type, |path, _| paths.push(path));
    paths.sort();
    paths
}

fn contents_of(bytes: &[u8], file_type: FileType) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::new();
    visit(bytes, file_type, |path, content| {
        contents.insert(path, content);
    });
    contents
}

/// By the libraries' own reading.
fn visit(bytes: &[u8], file_type: FileType, mut visit: impl FnMut(String, String)) {
    let mut content = String::new();
    if file_type == FileType::Zip {
        let mut archive = ::zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).unwrap();
            content.clear();
            entry.read_to_string(&mut content).unwrap();
            visit(entry.name().unwrap().into_owned(), content.clone());
        }
        return;
    }
    let tar = match file_type {
        FileType::Tar => bytes.to_vec(),
        FileType::TarBz2 => by_program("bunzip2", bytes),
        FileType::TarXz => by_program("unxz", bytes),
        FileType::TarZst => by_program("unzstd", bytes),
        _ => by_program("gunzip", bytes),
    };
    for entry in ::tar::Archive::new(&*tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        content.clear();
        entry.read_to_string(&mut content).unwrap();
        visit(String::from_utf8(entry.path_bytes().into_owned()).unwrap(), content.clone());
    }
}

fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// An archive of files with their contents, and directories.
fn archive(file_type: FileType, tree: &[(&str, Option<&str>)]) -> Vec<u8> {
    match file_type {
        FileType::Zip => {
            let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
            for (path, content) in tree {
                match content {
                    Some(content) => {
                        zip.start_file(*path, SimpleFileOptions::default()).unwrap();
                        zip.write_all(content.as_bytes()).unwrap();
                    }
                    None => zip.add_directory(*path, SimpleFileOptions::default()).unwrap(),
                }
            }
            zip.finish().unwrap().into_inner()
        }
        _ => compressed(file_type, &tar_of(tree)),
    }
}

fn compressed(file_type: FileType, tar: &[u8]) -> Vec<u8> {
    match file_type {
        FileType::Tar | FileType::Zip => tar.to_vec(),
        FileType::TarGz => gzip(tar),
        FileType::TarBz2 => bzip2(tar),
        FileType::TarXz => by_program("xz", tar),
        FileType::TarZst => by_program("zstd", tar),
    }
}

/// What a program makes of its input.
fn by_program(program: &str, input: &[u8]) -> Vec<u8> {
    let mut file = file_with(input);
    file.rewind().unwrap();
    let made = Command::new(program).args(["-q", "-c", "-"]).stdin(file).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn zip_stored(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(*name, stored).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A zip with one empty file of any name.
fn raw_zip(name: &[u8]) -> Vec<u8> {
    let about = [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..], &[0; 12], &(name.len() as u16).to_le_bytes()].concat();
    let local = [&b"PK\x03\x04"[..], &about, &[0; 2], name].concat();
    let central = [&b"PK\x01\x02\x14\0"[..], &about, &[0; 16], name].concat();
    let (at, size) = (local.len() as u32, central.len() as u32);
    let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &size.to_le_bytes(), &at.to_le_bytes(), &[0; 2]].concat();
    [local, central, end].concat()
}

fn tar_of(tree: &[(&str, Option<&str>)]) -> Vec<u8> {
    let members = tree.iter().map(|(path, content)| match content {
        Some(content) => tar_member(path, EntryType::Regular, "", content.as_bytes()),
        None => tar_member(path, EntryType::Directory, "", b""),
    });
    members.chain([end()]).collect::<Vec<_>>().concat()
}

/// What a tar has of one member. A name that is too long for the header stands before it.
fn tar_member(name: &str, kind: EntryType, link: &str, content: &[u8]) -> Vec<u8> {
    match name.len() {
        0..=100 => raw_tar(name.as_bytes(), kind, link, content),
        _ => {
            let long = tar_member("././@LongLink", EntryType::GNULongName, "", &[name.as_bytes(), b"\0"].concat());
            [long, raw_tar(&name.as_bytes()[..100], kind, link, content)].concat()
        }
    }
}

fn raw_tar(name: &[u8], kind: EntryType, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
    [header.as_bytes(), content, &padding].concat()
}

fn end() -> Vec<u8> {
    vec![0; 1024]
}

fn zip_crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn position(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}

/// With every one of these parts replaced.
fn replaced(bytes: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    while let Some(at) = bytes.windows(part.len()).position(|window| window == part) {
        bytes[at..at + by.len()].copy_from_slice(by);
    }
    bytes
}

/// Makes the checksum of the first header right.
fn with_checksum(tar: &mut [u8]) {
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
