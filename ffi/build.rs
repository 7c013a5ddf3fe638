//! Gives the shared library the name that programs look for at run time.

fn main() {
    let version = std::env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets it");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux" | "android" | "freebsd") => println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libliterllm.so.{version}"),
        Ok("macos") => println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libliterllm.{version}.dylib"),
        _ => {}
    }
    println!("cargo:rerun-if-changed=build.rs");
}
