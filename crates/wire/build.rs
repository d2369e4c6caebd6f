//! Compiles the protocol with a pure-Rust compiler: no system `protoc` is needed.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::path::Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files: Vec<_> = [
        "enroll",
        "agent",
        "raft",
        "resources",
        "locations",
        "retention",
        "collection",
        "keys",
        "ingest",
        "restore",
        "admin",
        "errors",
    ]
    .map(|name| root.join(format!("holdfast/v1/{name}.proto")))
    .into();
    let descriptors = protox::compile(files, [root])?;
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    std::fs::write(out.join("holdfast.fds"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().bytes(".holdfast.v1").compile_fds(descriptors)?;
    Ok(())
}
