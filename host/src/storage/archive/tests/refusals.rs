//! What two programs would read differently, and that a refusal names the member that it is about.

use std::time::{Duration, Instant};

use super::tools::{by_python, everything};
use super::*;

fn file(name: &str) -> Vec<u8> {
    tar_member(name, EntryType::Regular, "", b"content")
}

fn pax(record: &str) -> Vec<u8> {
    tar_member("x", EntryType::XHeader, "", record.as_bytes())
}

#[test]
fn two_extension_headers_before_a_member_are_refused() {
    let (path, comment) = (pax("13 path=evil\n"), pax("14 comment=hi\n"));
    for headers in [[path.clone(), comment.clone()].concat(), [comment, path.clone()].concat()] {
        let refused = refusal(&[file("first"), headers, file("good"), end()].concat(), FileType::Tar);
        assert!(refused.ends_with("a member has two headers of PAX before it, after `first`"), "{refused}");
    }
    let two = [path, file("a"), pax("13 path=more\n"), file("b"), end()].concat();
    assert_eq!(look(&two, FileType::Tar).unwrap().files, ["evil", "more"], "each is before another member");
}

#[test]
fn a_refusal_names_the_member_that_it_is_about_or_the_one_before_it() {
    let mut broken = file("second");
    broken[0] = b'S';
    for (second, why) in [
        (broken, "by its checksum, after `first`"),
        (pax("99 path=x\n"), "after `first`"),
        (pax("19 GNU.sparse.major=1\n"), "after `first`"),
        (pax("11 size=no\n"), "is not a number, after `first`"),
        (tar_member("second", EntryType::GNUSparse, "", b""), "`second`: it has a sparse file"),
        ([pax("10 path=a\n"), tar_member("L", EntryType::GNULongName, "", b"b\0")].concat(), "after `first`"),
    ] {
        let refused = refusal(&[file("first"), second, end()].concat(), FileType::Tar);
        assert!(refused.contains(why), "{why}: {refused}");
    }
    let cut_off = refusal(&[file("first"), file("second")[..515].to_vec()].concat(), FileType::Tar);
    assert!(cut_off.contains("it ends too early, after `second`"), "{cut_off}");
    let only = refusal(&[pax("9 broken\n"), file("a"), end()].concat(), FileType::Tar);
    assert!(only.contains("where its first member should be"), "{only}");

    let stored = zip_stored(&[("first", "content"), ("second", "other content")]);
    let refused = refusal(&replaced(&stored, b"other content", b"OTHER content"), FileType::Zip);
    assert!(refused.contains("`second`: Invalid checksum"), "{refused}");
    let deflated = by_python(
        "z = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED); z.writestr('first', 'a'); z.writestr('second', 'b' * 99); z.close()",
    );
    let mut damaged = deflated.clone();
    let content = position(&damaged, b"second") + 6;
    damaged[content] = 0xff;
    let refused = refusal(&damaged, FileType::Zip);
    assert!(refused.contains("`second`"), "{refused}");
}

#[test]
fn what_is_in_a_zip_twice_and_the_same_is_told() {
    let zip = |members: &str| {
        by_python(&format!(
            "import warnings; warnings.simplefilter('ignore')
with zipfile.ZipFile(sys.argv[1], 'w') as z:
    for name, content, mode in {members}:
        about = zipfile.ZipInfo(name)
        about.external_attr = mode << 16
        z.writestr(about, content)"
        ))
    };
    let same = zip(
        "[('a', '1', 0o100644), ('b', '2', 0o100755), ('a', '1', 0o100644), ('l', 'a', 0o120777), ('l', 'a', 0o120777)]",
    );
    let contents = look(&same, FileType::Zip).unwrap();
    assert_eq!(contents.files, ["a", "b", "l"]);
    assert_eq!(contents.warnings, ["`a` is in the archive more than once", "`l` is in the archive more than once"]);
    let (packaged, files) = packed(&same, FileType::Zip, vec![everything()]).unwrap();
    assert_eq!(
        (packaged[0].files, tree_of(&files[0], FileType::Zip)),
        (3, ["a", "b", "l"].map(str::to_owned).to_vec())
    );
    for other in [
        "[('a', '1', 0o100644), ('a', '2', 0o100644)]",
        "[('a', '1', 0o100644), ('a', '1', 0o100755)]",
        "[('l', 'a', 0o120777), ('l', 'b', 0o120777)]",
    ] {
        let refused = refusal(&zip(other), FileType::Zip);
        assert!(refused.contains("is in it twice, and not the same"), "{other}: {refused}");
    }
    let two_things = refusal(&zip("[('a', 'b', 0o100644), ('a', 'b', 0o120777)]"), FileType::Zip);
    assert!(two_things.contains("two different things"), "{two_things}");
}

#[test]
fn very_deep_names_take_no_longer_than_others() {
    const MANY: ArchiveLimits = ArchiveLimits { entries: 100_000, names_bytes: 128 << 20, ..LIMITS };
    let deep = "d/".repeat(2000);
    let mut names = Names::new(&MANY);
    let began = Instant::now();
    for number in 0..1000 {
        let (path, kind) = (format!("{deep}{number}"), MemberKind::File);
        names.add(&Member { path, kind }).unwrap();
    }
    // Each goes down through two thousand directories before it goes up again.
    for number in 0..500 {
        let (path, kind) = (format!("l{number}"), MemberKind::Symlink(format!("{}../x", &deep[..3900])));
        names.add(&Member { path, kind }).unwrap();
    }
    assert_eq!(names.into_contents().unwrap().files.len(), 1500);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_frame_of_zstd_of_another_size_than_it_says_is_refused() {
    // Long enough to be a frame that says its size.
    let tar = tar_of(&[("a", Some(&"content ".repeat(400)))]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &tar).unwrap();
    let packed = Command::new("zstd").arg("-qc").arg(file.path()).output().unwrap();
    assert!(packed.status.success());
    let mut frame = packed.stdout;
    assert_eq!(look(&frame, FileType::TarZst).unwrap().files, ["a"]);
    // After the magic number and what describes the header: of a frame of one segment, the size comes next.
    assert_eq!(frame[4] >> 5, 0b011, "a size of two bytes");
    frame[5] = frame[5].wrapping_sub(1);
    let refused = refusal(&frame, FileType::TarZst);
    assert!(refused.contains("another size than it says"), "{refused}");
}

#[test]
fn a_long_target_of_a_link_is_in_a_package_as_it_was() {
    let target = format!("./{}x//y", "a/../".repeat(30));
    let long = tar_member("././@LongLink", EntryType::GNULongLink, "", &[target.as_bytes(), b"\0"].concat());
    let tar = [file("a/x"), file("x/y"), long, tar_member("l", EntryType::Symlink, "", b""), end()].concat();
    let (_, packages) = packed(&tar, FileType::Tar, vec![everything()]).unwrap();
    let mut package = ::tar::Archive::new(&*packages[0]);
    let link =
        package.entries().unwrap().map(Result::unwrap).find(|entry| entry.header().entry_type() == EntryType::Symlink);
    assert_eq!(link.unwrap().link_name_bytes().unwrap(), target.as_bytes());
    look(&packages[0], FileType::Tar).unwrap();
}

#[test]
fn names_of_modules_are_no_drives() {
    let tar = [file("B::Deparse.3"), tar_member("l", EntryType::Symlink, "B::Deparse.3", b""), end()].concat();
    assert_eq!(look(&tar, FileType::Tar).unwrap().files, ["B::Deparse.3", "l"]);
    for target in ["C:evil", "C:"] {
        let tar = [tar_member("l", EntryType::Symlink, target, b""), end()].concat();
        assert!(refusal(&tar, FileType::Tar).contains("not a path within"), "{target}");
    }
}

#[test]
fn a_label_of_a_zip_is_refused() {
    let mut zip = raw_zip(b"LABEL");
    let record = position(&zip, b"PK\x01\x02");
    zip[record + 38] = 0x08;
    let refused = refusal(&zip, FileType::Zip);
    assert!(refused.contains("`LABEL` is the label of a volume"), "{refused}");
}

/// A zip with the end of one of 64 bits: its size, where that is said to be, and what it says.
fn zip_64(record_bytes: u64, place: u64, entries: u64) -> Vec<u8> {
    let zip = raw_zip(b"a");
    let (directory, end) = (position(&zip, b"PK\x01\x02") as u64, position(&zip, b"PK\x05\x06"));
    let numbers = [entries, entries, end as u64 - directory, directory].map(u64::to_le_bytes).concat();
    let large = [&b"PK\x06\x06"[..], &record_bytes.to_le_bytes(), &[45, 0, 45, 0], &[0; 8], &numbers].concat();
    let locator = [&b"PK\x06\x07\0\0\0\0"[..], &(end as u64 + place).to_le_bytes(), &[1, 0, 0, 0]].concat();
    [&zip[..end], &large, &locator, &zip[end..]].concat()
}

#[test]
fn an_end_of_64_bits_says_the_same_as_the_other() {
    assert_eq!(look(&zip_64(44, 0, 1), FileType::Zip).unwrap().files, ["a"]);
    for (zip, why) in [
        (zip_64(44, 0, 2), "contradict each other"),
        (zip_64(44, 1, 1), "is not where it should be"),
        (zip_64(44, 1 << 40, 1), "is not where it should be"),
        (zip_64(45, 0, 1), "is not where it should be"),
    ] {
        let refused = refusal(&zip, FileType::Zip);
        assert!(refused.contains(why), "{why}: {refused}");
    }
}
