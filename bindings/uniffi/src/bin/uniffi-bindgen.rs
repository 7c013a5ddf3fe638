//! Writes the Kotlin and Swift sources from the library; see scripts/generate.

fn main() {
    uniffi::uniffi_bindgen_main();
}
