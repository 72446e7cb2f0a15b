//! Has a file that is new in a folder which `plugin new` writes compiled in.

fn main() {
    for folder in ["../wit", "../guest-sdk/src", "../example-plugins/go/elita"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
