//! Archives as programs make them that people use, and what is told of those that are not taken.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;

/// What Python writes to a file that its script calls `sys.argv[1]`.
pub(super) fn by_python(script: &str) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let script = format!("import io, sys, tarfile, zipfile\n{script}");
    let python = Command::new("python3").args(["-c", &script]).arg(file.path()).output().unwrap();
    assert!(python.status.success(), "{python:?}");
    std::fs::read(file.path()).unwrap()
}

/// What a program writes to `out` in a directory with these files.
fn by_shell(files: &[(&str, &str)], script: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let shell = Command::new("sh").args(["-ec", script]).current_dir(&directory).output().unwrap();
    assert!(shell.status.success(), "{shell:?}");
    std::fs::read(directory.path().join("out")).unwrap()
}

pub(super) fn everything() -> Selection {
    Selection { patterns: vec!["**".into()], ..Selection::default() }
}

#[test]
fn what_bsdtar_writes_to_a_pipe_is_taken() {
    let fixtures: [(FileType, &[u8]); 6] = [
        (FileType::TarGz, include_bytes!("fixtures/bsdtar-pipe.tar.gz")),
        (FileType::TarBz2, include_bytes!("fixtures/bsdtar-pipe.tar.bz2")),
        (FileType::TarXz, include_bytes!("fixtures/bsdtar-pipe.tar.xz")),
        (FileType::TarZst, include_bytes!("fixtures/bsdtar-pipe.tar.zst")),
        (FileType::Zip, include_bytes!("fixtures/bsdtar-pipe.zip")),
        (FileType::TarGz, include_bytes!("fixtures/bsdtar-xattrs.tar.gz")),
    ];
    for (file_type, archive) in fixtures {
        let contents = look(archive, file_type).unwrap();
        assert_eq!(contents.files, ["a/b.txt", "link", "run.sh"], "{file_type}");
        let (_, files) = packed(archive, file_type, vec![everything()]).unwrap();
        assert_eq!(contents_of(&files[0], file_type)["a/b.txt"], "text\n", "{file_type}");
        if file_type != FileType::Zip {
            let behind = [archive, b"\0\0x"].concat();
            assert!(look(&behind, file_type).is_err(), "{file_type} with something behind its zeros");
        }
    }
}

#[test]
fn numbers_of_nuls_are_nothing() {
    let mut tar = tar_of(&[("package/index.js", Some("content"))]);
    // Mode, user and group, time, and devices, as old npm wrote them.
    for field in [100..124, 136..148, 329..345] {
        tar[field].fill(0);
    }
    with_checksum(&mut tar);
    assert_eq!(look(&gzip(&tar), FileType::TarGz).unwrap().files, ["package/index.js"]);
}

#[test]
fn extensions_are_read_by_their_length() {
    let tar = by_python(
        "t = tarfile.open(sys.argv[1], 'w:gz', format=tarfile.PAX_FORMAT)
i = tarfile.TarInfo('a/é' + 'x' * 200); i.size = 1
i.pax_headers = {'SCHILY.xattr.com.apple.cs': 'one\\n30 path=evil\\n', 'SCHILY.xattr.user.big': 'x' * 300000}
t.addfile(i, io.BytesIO(b'1')); t.close()",
    );
    let files = look(&tar, FileType::TarGz).unwrap().files;
    assert_eq!(files, [format!("a/é{}", "x".repeat(200))]);
    for record in ["12 path=abcd\n", "1 path=a\n", "99 path=a\n", "10 path=a", "path=a\n"] {
        let pax = tar_member("x", EntryType::XHeader, "", record.as_bytes());
        let tar = [pax, tar_member("a", EntryType::Regular, "", b""), end()].concat();
        assert!(look(&gzip(&tar), FileType::TarGz).is_err(), "{record:?}");
    }
    let long = format!("100011 path={}\n", "x".repeat(99_998));
    let pax = tar_member("x", EntryType::XHeader, "", long.as_bytes());
    assert!(matches!(look(&gzip(&pax), FileType::TarGz), Err(ArchiveError::TooMuch(_))));
}

#[test]
fn what_says_nothing_in_a_path_is_left_out() {
    let tree = [("/", None), ("./", None), ("a/./b", Some("1")), ("a//c", Some("2")), ("./d", Some("3"))];
    for file_type in TYPES {
        let archive = archive(file_type, &tree);
        assert_eq!(look(&archive, file_type).unwrap().files, ["a/b", "a/c", "d"], "{file_type}");
        let (_, files) = packed(&archive, file_type, vec![everything()]).unwrap();
        assert_eq!(tree_of(&files[0], file_type), ["a/b", "a/c", "d"], "{file_type}");
    }
}

#[test]
fn what_is_in_a_tar_twice_and_the_same_is_told() {
    let member = |content: &[u8]| tar_member("a", EntryType::Regular, "", content);
    let link = |target| tar_member("l", EntryType::Symlink, target, b"");
    let tar = [member(b"1"), link("a"), member(b"1"), link("a"), end()].concat();
    let contents = look(&gzip(&tar), FileType::TarGz).unwrap();
    assert_eq!(contents.files, ["a", "l"]);
    assert_eq!(contents.warnings, ["`a` is in the archive more than once", "`l` is in the archive more than once"]);
    let (packaged, files) = packed(&gzip(&tar), FileType::TarGz, vec![everything()]).unwrap();
    assert_eq!((packaged[0].files, tree_of(&files[0], FileType::TarGz)), (2, vec!["a".into(), "l".into()]));
    for other in [[member(b"1"), member(b"2")], [link("a"), link("b")]] {
        let tar = [other.concat(), end()].concat();
        assert!(refusal(&gzip(&tar), FileType::TarGz).contains("is in it twice, and not the same"));
    }
}

#[test]
fn links_may_go_down_and_up_again_through_directories() {
    let link = |path: &str, target: &str| tar_member(path, EntryType::Symlink, target, b"");
    let good = [link("a/current", "lib/../b"), tar_member("a/lib/x", EntryType::Regular, "", b""), end()].concat();
    assert_eq!(look(&gzip(&good), FileType::TarGz).unwrap().files, ["a/current", "a/lib/x"]);
    // Whichever comes first.
    for links in [[link("s", "."), link("l", "s/../x")], [link("l", "s/deep/../x"), link("s", "t")]] {
        let refused = refusal(&gzip(&[links.concat(), end()].concat()), FileType::TarGz);
        assert!(refused.contains("follows the link `s` and then goes up with `..`"), "{refused}");
    }
}

#[test]
fn names_that_are_not_in_unicode_are_read() {
    // The flag that says that it is in UTF-8 is clear in each of them.
    let cp437 = look(&raw_zip(b"caf\x82/\x9b.txt"), FileType::Zip).unwrap();
    assert_eq!(cp437.files, ["café/¢.txt"]);
    assert!(cp437.warnings[0].contains("without saying in which characters"), "{:?}", cp437.warnings);
    assert_eq!(look(&raw_zip("é".as_bytes()), FileType::Zip).unwrap().files, ["é"]);
    let (_, files) = packed(&raw_zip(b"caf\x82"), FileType::Zip, vec![everything()]).unwrap();
    assert_eq!(tree_of(&files[0], FileType::Zip), ["café"]);
    // Info-ZIP has the name in Unicode beside one in ASCII.
    for (name, unicode, taken) in [
        ("caf?.txt", "café.txt", true),
        ("a/caf?", "a/café", true),
        ("b/caf?", "a/café", false),
        ("../caf?", "é/café", false),
        ("caf?", "../é", false),
    ] {
        let field = [&[1][..], &zip_crc(name.as_bytes()).to_le_bytes(), unicode.as_bytes()].concat();
        let mut options = SimpleFileOptions::default().into_full_options();
        options.add_extra_field(0x7075, &field, false).unwrap();
        let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file(name, options).unwrap();
        let zip = zip.finish().unwrap().into_inner();
        let files = look(&zip, FileType::Zip).map(|contents| contents.files);
        assert_eq!(files.ok(), taken.then(|| vec![unicode.to_owned()]), "{name}");
    }
}

#[test]
fn backslashes_of_windows_are_slashes() {
    let zip = raw_zip(b"bin\\app.exe");
    let contents = look(&zip, FileType::Zip).unwrap();
    assert_eq!((contents.files, contents.warnings.len()), (vec!["bin/app.exe".to_owned()], 1));
    let (_, files) = packed(&zip, FileType::Zip, vec![everything()]).unwrap();
    assert_eq!(tree_of(&files[0], FileType::Zip), ["bin/app.exe"]);
    for name in [&b"..\\evil"[..], b"\\evil", b"C:\\evil", b"a\\.git\\config"] {
        refusal(&raw_zip(name), FileType::Zip);
    }
    // Elsewhere they are part of a name, for some.
    let mut unix = raw_zip(b"bin\\app.exe");
    let made_by = position(&unix, b"PK\x01\x02") + 5;
    unix[made_by] = 3;
    assert!(refusal(&unix, FileType::Zip).contains("backslash"));
}

#[test]
fn a_header_that_programs_read_differently_is_refused() {
    let sound = tar_of(&[("foo", Some(""))]);
    let with = |place: usize, bytes: &[u8]| {
        let mut tar = sound.clone();
        tar[place..place + bytes.len()].copy_from_slice(bytes);
        with_checksum(&mut tar);
        gzip(&tar)
    };
    // GNU tar reads `foo`, Python `../../evil/foo`.
    assert!(refusal(&with(345, b"../../evil"), FileType::TarGz).contains("some programs would read a different name"));
    for (place, part) in [(400, b"x"), (345, b"7")] {
        assert!(refusal(&with(place, part), FileType::TarGz).contains("read a different name"));
    }
    assert!(look(&with(345, b"14000000000\x0014000000000\0"), FileType::TarGz).is_ok());
    let directory = |kind: u8| {
        let mut tar = [tar_of(&[("dir/", None)])[..512].to_vec(), sound.clone()].concat();
        tar[156] = kind;
        with_checksum(&mut tar);
        gzip(&tar)
    };
    assert_eq!(look(&directory(0), FileType::TarGz).unwrap().files, ["foo"]);
    assert!(refusal(&directory(b'0'), FileType::TarGz).contains("`dir` is a directory by its name"));
    // A tape of 1979 has no prefix at all.
    assert!(look(&with(257, &[0; 8]), FileType::TarGz).is_ok());
    let mut old = sound.clone();
    old[257..265].fill(0);
    old[345] = b'x';
    with_checksum(&mut old);
    refusal(&gzip(&old), FileType::TarGz);
    for (place, number) in
        [(100, &b"0000888\0"[..]), (108, b"none\0\0\0\0"), (124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")]
    {
        let refused = refusal(&with(place, number), FileType::TarGz);
        assert!(refused.contains("`foo` has a "), "{refused}");
    }
}

#[test]
fn a_time_before_1970_makes_a_package_that_can_be_unpacked() {
    for format in ["gnu", "posix"] {
        let make = format!("touch -d 1950-05-05 old; tar --format={format} -czf out old");
        let master = by_shell(&[("old", "content")], &make);
        let (_, files) = packed(&master, FileType::TarGz, vec![everything()]).unwrap();
        assert_eq!(unpacked(&files[0], "-z"), [("old".into(), "content".into())], "{format}");
        let tar = by_program("gunzip", &files[0]);
        assert_eq!(&tar[136..148], b"00000000000\0", "{format}");
    }
}

#[test]
fn what_an_archive_is_that_is_not_taken_is_told_with_what_to_do() {
    let tree = [("a", "content"), ("b", "content of another file, content of another file")];
    let stub = |zip: Vec<u8>| [b"#!/bin/sh\nexit\n".to_vec(), zip].concat();
    let plain = || by_shell(&tree, "zip -q out.zip a b && mv out.zip out");
    for (archive, file_type, why) in [
        (
            by_shell(&tree, "zip -q -P secret out.zip a && mv out.zip out"),
            FileType::Zip,
            "make the archive without a password",
        ),
        (
            by_python("z = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_LZMA); z.writestr('a', 'b' * 99); z.close()"),
            FileType::Zip,
            "compressed by lzma (method 14)",
        ),
        (with_method(plain(), 9), FileType::Zip, "compressed by deflate64"),
        (
            by_python(
                "import warnings; warnings.simplefilter('ignore')\nz = zipfile.ZipFile(sys.argv[1], 'w'); z.writestr('a', '1'); z.writestr('a', '2'); z.close()",
            ),
            FileType::Zip,
            "`a` is in it twice",
        ),
        (stub(plain()), FileType::Zip, "a program, such as an archive that extracts itself"),
        (by_shell(&tree, "tar -V backup -czf out a"), FileType::TarGz, "write the archive without `--label`"),
        (
            by_shell(&[("sub/a", "content")], "tar --listed-incremental=snapshot -czf out sub"),
            FileType::TarGz,
            "without `--listed-incremental`",
        ),
        (by_shell(&tree, "truncate -s 1M hole; tar --sparse -czf out hole"), FileType::TarGz, "without `--sparse`"),
        (b"<!DOCTYPE html><title>Log in</title>".to_vec(), FileType::Zip, "a page in HTML"),
        (b"7z\xbc\xaf\x27\x1c\0\x04".to_vec(), FileType::Zip, "an archive of 7-Zip"),
        (Vec::new(), FileType::Tar, "it is empty"),
    ] {
        let refused = refusal(&archive, file_type);
        assert!(refused.contains(why), "{why}: {refused}");
    }
    // One that says that a member is where another one is, and a program that is a zip by what it says of itself.
    let prefixed = by_python(
        "f = open(sys.argv[1], 'wb'); f.write(b'PK\\x03\\x04 stub'); z = zipfile.ZipFile(f, 'w'); z.writestr('a', '1'); z.close()",
    );
    assert!(refusal(&prefixed, FileType::Zip).contains("something stands before the zip archive"));
}

#[test]
fn an_end_that_lies_about_the_directory_of_a_zip_is_refused() {
    let good = archive(FileType::Zip, &[("a", Some("content")), ("b", Some("more"))]);
    let end = position(&good, b"PK\x05\x06");
    for place in [8, 10, 12, 16] {
        for change in [1_u8, 255] {
            let mut bad = good.clone();
            bad[end + place] = bad[end + place].wrapping_add(change);
            assert!(look(&bad, FileType::Zip).is_err(), "{change} at {place}");
        }
    }
}

/// What a client chooses to make long is not held before it is known to be too long.
#[test]
fn a_zip_of_members_in_the_same_place_is_refused() {
    let zip = by_python(
        "import struct
def parts(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as z: z.writestr(name, content)
    zip = file.getvalue()
    return zip[:zip.index(b'PK\\1\\2')], zip[zip.index(b'PK\\1\\2'):-22]
inner, inner_directory = parts('b', 'x')
outer, directory = parts('a', inner)
directory += inner_directory[:42] + struct.pack('<I', 31) + inner_directory[46:]
end = struct.pack('<4s4H2IH', b'PK\\5\\6', 0, 0, 2, 2, len(directory), len(outer), 0)
open(sys.argv[1], 'wb').write(outer + directory + end)",
    );
    let refused = refusal(&zip, FileType::Zip);
    assert!(refused.contains("in the same place"), "{refused}");
}

#[test]
fn a_zip_of_very_many_members_is_read_and_packaged_in_parts() {
    const MANY: ArchiveLimits = ArchiveLimits { entries: 100_000, names_bytes: 1 << 24, ..LIMITS };
    // More than an end of 32 bits can count.
    for count in [1000, 1001, 2500, 70_000] {
        let zip = by_python(&format!(
            "with zipfile.ZipFile(sys.argv[1], 'w') as z:\n    for n in range({count}): z.writestr(f'd{{n % 7}}/{{n}}', str(n))"
        ));
        let inspected = inspect(file_with(&zip), FileType::Zip, &MANY, &AtomicBool::new(false), &mut |_, _| Ok(()));
        assert_eq!(inspected.unwrap().files.len(), count);
        let output = tempfile::NamedTempFile::new().unwrap();
        let given = vec![(everything(), output.reopen().unwrap())];
        let packaged = package(file_with(&zip), FileType::Zip, &MANY, given, 0, &AtomicBool::new(false)).unwrap();
        assert_eq!((packaged[0].files, packaged[0].sources.iter().count()), (count as u64, count));
        let script = format!(
            "z = zipfile.ZipFile({:?})\nassert z.testzip() is None\nn = z.namelist()\n\
             assert n == [f'd{{i % 7}}/{{i}}' for i in range({count})]\nassert z.read(n[-1]) == str({count} - 1).encode()\n\
             open(sys.argv[1], 'w')",
            output.path()
        );
        by_python(&script);
        let package = std::fs::read(output.path()).unwrap();
        inspect(file_with(&package), FileType::Zip, &MANY, &AtomicBool::new(false), &mut |_, _| Ok(())).unwrap();
        let unzip = Command::new("unzip").args(["-tqq"]).arg(output.path()).output().unwrap();
        assert!(unzip.status.success(), "{unzip:?}");
    }
    // In two parts of the directory.
    for (content, taken) in [("''", true), ("str(n)", false)] {
        let twice = by_python(&format!(
            "import warnings; warnings.simplefilter('ignore')\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n    for n in range(1500): z.writestr(str(n % 1200), {content})",
        ));
        let inspected = inspect(file_with(&twice), FileType::Zip, &MANY, &AtomicBool::new(false), &mut |_, _| Ok(()));
        match inspected {
            Ok(contents) => assert_eq!((taken, contents.files.len(), contents.warnings.len()), (true, 1200, 300)),
            Err(refused) => assert!(!taken && refused.to_string().contains("`0` is in it twice"), "{refused}"),
        }
    }
}

#[test]
fn a_directory_of_a_zip_that_is_very_long_is_refused_before_it_is_read() {
    let zip = by_python(
        "z = zipfile.ZipFile(sys.argv[1], 'w')
for n in range(300):
    i = zipfile.ZipInfo(str(n)); i.comment = b'x' * 60000; z.writestr(i, '')
z.close()",
    );
    let refused = look(&zip, FileType::Zip);
    let Err(ArchiveError::TooMuch(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("comments and extensions are more than 65536 bytes"), "{why}");
}

#[test]
fn packages_are_bounded_together() {
    let mut rng = StdRng::seed_from_u64(8);
    let noise: String = (0..1_000_000).map(|_| char::from(rng.random_range(b' '..b'~'))).collect();
    for file_type in [FileType::Zip, FileType::TarGz] {
        let large = ArchiveLimits { unpacked_bytes: 1 << 30, ..LIMITS };
        let master = archive(file_type, &[("a", Some(&noise))]);
        let made = |packages: usize| {
            let given = (0..packages).map(|_| (everything(), tempfile::tempfile().unwrap())).collect();
            package(file_with(&master), file_type, &large, given, 0, &AtomicBool::new(false))
        };
        assert!(made(2).is_ok(), "{file_type}");
        assert!(matches!(made(60), Err(ArchiveError::TooMuch(_))), "{file_type}");
    }
}

/// A decompressor reads very many parts that are empty before it has anything to show.
#[test]
fn work_on_nothing_but_empty_parts_ends_when_nobody_waits_for_it() {
    for (file_type, part) in [(FileType::TarGz, gzip(b"")), (FileType::TarBz2, bzip2(b""))] {
        let file = file_with(&part.repeat((64 << 20) / part.len()));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let work = scope.spawn(|| inspect(file, file_type, &LIMITS, &stop, &mut |_, _| Ok(())));
            std::thread::sleep(Duration::from_millis(50));
            let asked = Instant::now();
            stop.store(true, Ordering::Relaxed);
            let ended = work.join().unwrap();
            assert!(matches!(ended, Err(ArchiveError::Stopped)), "{file_type}: {ended:?}");
            assert!(asked.elapsed() < Duration::from_secs(2), "{file_type}: {:?}", asked.elapsed());
        });
    }
}

/// With this method of compression, wherever it says so.
fn with_method(mut zip: Vec<u8>, method: u8) -> Vec<u8> {
    for (signature, place) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
        let heads: Vec<_> =
            zip.windows(4).enumerate().filter(|(_, bytes)| bytes == signature).map(|(at, _)| at).collect();
        for head in heads {
            zip[head + place] = method;
        }
    }
    zip
}

/// Files as projects have them, with executable bits and a link into the tree.
const PROJECT: &str = "mkdir -p node_modules/.bin node_modules/tool lib 'a b' &&
    echo 'console.log(1)' > node_modules/tool/cli.js && chmod 755 node_modules/tool/cli.js &&
    ln -s ../tool/cli.js node_modules/.bin/tool && echo so > lib/libfoo.so.1 && ln -s libfoo.so.1 lib/libfoo.so &&
    echo ü > 'a b/ü.txt' && echo '{\"name\":\"x\",\"version\":\"1.0.0\",\"files\":[\"lib\",\"a b\"]}' > package.json &&";

/// What each of these programs writes of a project is taken, and makes a package with the same files.
#[test]
fn what_real_tools_write_is_taken() {
    let members =
        ["a b/ü.txt", "lib/libfoo.so", "lib/libfoo.so.1", "node_modules/.bin/tool", "node_modules/tool/cli.js"];
    for (tool, script, file_type) in [
        ("tar", "tar -cz * ", FileType::TarGz),
        ("tar", "tar -c --format=pax * | xz", FileType::TarXz),
        ("tar", "tar -c --format=v7 *", FileType::Tar),
        ("bsdtar", "bsdtar -c --format=pax -z *", FileType::TarGz),
        ("bsdtar", "bsdtar -c --format=ustar -j *", FileType::TarBz2),
        ("bsdtar", "bsdtar -c --zstd *", FileType::TarZst),
        ("bsdtar", "bsdtar -c --format=zip *", FileType::Zip),
        ("zip", "zip -qry - *", FileType::Zip),
        ("zip", "zip -qry ../made.zip * && cat ../made.zip && rm ../made.zip", FileType::Zip),
        ("7z", "7z a -bd -snl ../made.zip * > ../log && cat ../made.zip && rm ../made.zip ../log", FileType::Zip),
        ("jar", "jar --create --no-manifest *", FileType::Zip),
        (
            "git",
            "git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm a && git archive HEAD",
            FileType::Tar,
        ),
        (
            "git",
            "git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm a && git archive --format=zip HEAD",
            FileType::Zip,
        ),
        ("python3", "python3 -m zipfile -c ../made.zip * && cat ../made.zip && rm ../made.zip", FileType::Zip),
        (
            "python3",
            "python3 -m tarfile -c ../made.tar.gz * && cat ../made.tar.gz && rm ../made.tar.gz",
            FileType::TarGz,
        ),
        (
            "npm",
            "npm pack --silent --pack-destination .. > ../log && cat ../x-1.0.0.tgz && rm ../x-1.0.0.tgz ../log",
            FileType::TarGz,
        ),
    ] {
        let has = Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
        // 7-Zip, npm and a JDK are not on every machine; scripts/test-tools installs the others.
        if !has.unwrap().success() && ["7z", "npm", "jar"].contains(&tool) {
            continue;
        }
        let bytes =
            by_shell(&[], &format!("export LC_ALL=C.UTF-8; mkdir tree; cd tree; {PROJECT} ( {script} ) > ../out"));
        let contents = look(&bytes, file_type).unwrap_or_else(|error| panic!("`{script}`: {error}"));
        let mut found = contents.files.clone();
        found.sort_unstable();
        // Some of them follow links, and npm takes what the project says, below a folder of its own.
        let expected: Vec<_> = match tool {
            "npm" => {
                vec!["package/a b/ü.txt".to_owned(), "package/lib/libfoo.so.1".into(), "package/package.json".into()]
            }
            _ => members.iter().map(|path| (*path).to_owned()).chain(["package.json".into()]).collect(),
        };
        assert_eq!(found, expected, "`{script}`");
        let (_, package) = packed(&bytes, file_type, vec![everything()]).unwrap();
        assert_eq!(look(&package[0], file_type).unwrap().files.len(), found.len(), "`{script}`");
        let whole = contents_of(&package[0], file_type);
        let text = whole.iter().find(|(path, _)| path.ends_with("a b/ü.txt")).map(|(_, content)| content.as_str());
        assert_eq!(text, Some("ü\n"), "`{script}`: {whole:?}");
    }
}
