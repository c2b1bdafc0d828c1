//! New migrations are part of the binary: build again when there are any.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
