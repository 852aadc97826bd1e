//! Links the kernel: no C runtime, no dynamic linker, and the layout of `linker.ld`.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        &format!("-Wl,-T{directory}/linker.ld"),
        "-Wl,--build-id=none",
        "-Wl,-zmax-page-size=4096",
        "-Wl,-znoseparate-code",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rerun-if-changed=linker.ld");
    println!("cargo::rerun-if-changed=build.rs");
}
