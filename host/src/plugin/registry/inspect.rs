//! What a file must be before it is compiled: a component, for this host's WIT, of bounded size.

use wasmparser::{ComponentInstance, Encoding, Instance, Parser, Payload};

use super::misfit::NEWER;
use crate::plugin::sandbox::limits::Limits;

/// The version of the package `elita:plugin` that this host offers.
const WIT_VERSION: &str = "0.1.0";
/// Which interfaces of that package a plugin may import: the lines `import …;` of its worlds.
const WORLDS: &str = include_str!("../../../../wit/world.wit");
/// The interfaces of that package that a plugin must export.
const REQUIRED: [&str; 2] = ["registration", "handler"];
/// The packages of WASI 0.2 that are linked; what the sandbox withholds is denied when it is called.
const WASI: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
/// The interfaces of `wasi:http` that are linked: a plugin is not a server.
const WASI_HTTP: [&str; 2] = ["types", "outgoing-handler"];

/// A page of linear memory.
const PAGE_BYTES: u64 = 64 * 1024;

fn is_offered(interface: &str) -> bool {
    let imported = |line: &'static str| line.trim().strip_prefix("import ")?.strip_suffix(';');
    WORLDS.lines().filter_map(imported).any(|offered| offered == interface)
}

/// Why a file cannot be used, in a sentence for its author.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(String);

impl Refusal {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Checks the file's structure and what it asks for, and returns the names of its imports.
///
/// # Errors
/// [`Refusal`] with the first reason that was found.
pub(crate) fn inspect(bytes: &[u8], limits: &Limits) -> Result<Vec<String>, Refusal> {
    check_kind(bytes)?;
    let outline = walk(bytes, limits)?;
    for import in &outline.imports {
        check_import(import)?;
    }
    for interface in REQUIRED {
        check_export(interface, &outline.exports)?;
    }
    Ok(outline.imports)
}

/// Tells apart what people put into a plugin directory by mistake.
fn check_kind(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.starts_with(b"\x7fELF") {
        return Err(Refusal::new(
            "this is a precompiled file (.cwasm); only components in their portable form are taken, so put the .wasm here",
        ));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Refusal::new("this is not a WebAssembly file: it does not begin with `\\0asm`"));
    }
    if Parser::is_core_wasm(bytes) {
        return Err(Refusal::new(
            "this is a core module, not a component; build it for wasm32-wasip2, or wrap it with `wasm-tools component new`",
        ));
    }
    Ok(())
}

/// What a file consists of, at all depths.
#[derive(Default)]
struct Outline {
    imports: Vec<String>,
    exports: Vec<String>,
    functions: u32,
    instances: u32,
    memories: u32,
    memory_bytes: u64,
    tables: u32,
    table_elements: u64,
}

/// How many component instances a file can come to: compiling writes each of them out, so that a few nested
/// components which instantiate each other twice are more than any machine can hold.
#[derive(Default)]
struct Nesting {
    /// How many components each one that the parser is in instantiates, without the outermost.
    inner: Vec<u32>,
    outermost: u32,
    /// The most instances that any component which has ended so far comes to; a component can only instantiate those.
    largest: u32,
}

impl Nesting {
    fn enter(&mut self) {
        self.inner.push(0);
    }

    fn is_outermost(&self) -> bool {
        self.inner.is_empty()
    }

    fn count_instance(&mut self) {
        let count = self.inner.last_mut().unwrap_or(&mut self.outermost);
        *count = count.saturating_add(1);
    }

    /// Ends a component or a module, and says how many instances it comes to at most.
    fn leave(&mut self) -> u32 {
        let instantiated = self.inner.pop().unwrap_or(self.outermost);
        let total = instantiated.saturating_mul(self.largest).saturating_add(1);
        self.largest = self.largest.max(total);
        total
    }
}

fn check_instances(count: u32, limit: u32) -> Result<(), Refusal> {
    if count <= limit {
        return Ok(());
    }
    Err(Refusal::new(format!("its nested components may make more than {limit} instances, which is this host's limit")))
}

/// Reads the file's outline, at all depths, and stops at the first limit.
fn walk(bytes: &[u8], limits: &Limits) -> Result<Outline, Refusal> {
    let invalid =
        |error: wasmparser::BinaryReaderError| Refusal::new(format!("this is not a valid component: {error}"));
    let mut outline = Outline::default();
    let mut nesting = Nesting::default();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => {}
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => nesting.enter(),
            Payload::End(_) => check_instances(nesting.leave(), limits.instances)?,
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances {
                    if let ComponentInstance::Instantiate { .. } = instance.map_err(invalid)? {
                        nesting.count_instance();
                    }
                }
            }
            Payload::ComponentImportSection(imports) if nesting.is_outermost() => {
                for import in imports {
                    outline.imports.push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if nesting.is_outermost() => {
                for export in exports {
                    outline.exports.push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::FunctionSection(functions) => {
                outline.functions = outline.functions.saturating_add(functions.count())
            }
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    // The other kind only bundles what there is already.
                    if let Instance::Instantiate { .. } = instance.map_err(invalid)? {
                        outline.instances = outline.instances.saturating_add(1);
                    }
                }
            }
            Payload::TableSection(tables) => {
                outline.tables = outline.tables.saturating_add(tables.count());
                for table in tables {
                    let initial = table.map_err(invalid)?.ty.initial;
                    outline.table_elements = outline.table_elements.saturating_add(initial);
                }
            }
            Payload::MemorySection(memories) => {
                outline.memories = outline.memories.saturating_add(memories.count());
                for memory in memories {
                    let memory = memory.map_err(invalid)?;
                    if memory.shared {
                        return Err(Refusal::new("it has a shared memory; plugins are single-threaded"));
                    }
                    if memory.memory64 {
                        return Err(Refusal::new("it has a 64-bit memory; build it for wasm32"));
                    }
                    let initial = memory.initial.saturating_mul(PAGE_BYTES);
                    outline.memory_bytes = outline.memory_bytes.saturating_add(initial);
                }
            }
            _ => {}
        }
        check_counts(&outline, limits)?;
    }
    Ok(outline)
}

fn check_counts(outline: &Outline, limits: &Limits) -> Result<(), Refusal> {
    for (what, count, limit) in [
        ("functions", outline.functions, limits.functions),
        ("core instances", outline.instances, limits.instances),
        ("memories", outline.memories, limits.memories),
        ("tables", outline.tables, limits.instances),
    ] {
        if count > limit {
            return Err(Refusal::new(format!("it has more than {limit} {what}, which is this host's limit")));
        }
    }
    if outline.memory_bytes > limits.memory_bytes() as u64 {
        let limit = limits.memory_mib;
        return Err(Refusal::new(format!("its memories begin with more than {limit} MiB, which is this host's limit")));
    }
    if outline.table_elements > u64::from(limits.table_elements) {
        let limit = limits.table_elements;
        return Err(Refusal::new(format!(
            "its tables begin with more than {limit} elements, which is this host's limit"
        )));
    }
    Ok(())
}

fn check_import(import: &str) -> Result<(), Refusal> {
    let not_offered = || Refusal::new(format!("it imports `{import}`, which this host does not offer"));
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    let (package, interface) = name.split_once('/').ok_or_else(not_offered)?;
    match package.split_once(':').ok_or_else(not_offered)? {
        ("elita", "plugin") => {
            check_version(version)?;
            if is_offered(interface) {
                return Ok(());
            }
            Err(Refusal::new(format!("it imports `{import}`, which this host does not offer: {NEWER}")))
        }
        ("wasi", package) if WASI.contains(&package) || package == "http" && WASI_HTTP.contains(&interface) => {
            if version.starts_with("0.2.") {
                return Ok(());
            }
            Err(Refusal::new(format!("it imports `{import}`, and this host offers version 0.2 of WASI")))
        }
        _ => Err(not_offered()),
    }
}

fn check_export(interface: &str, exports: &[String]) -> Result<(), Refusal> {
    let prefix = format!("elita:plugin/{interface}@");
    match exports.iter().find_map(|export| export.strip_prefix(&prefix)) {
        Some(version) => check_version(version),
        None => Err(Refusal::new(format!("it does not export `{prefix}{WIT_VERSION}`, as every plugin must"))),
    }
}

fn check_version(version: &str) -> Result<(), Refusal> {
    if version == WIT_VERSION {
        return Ok(());
    }
    Err(Refusal::new(format!(
        "it was built for elita:plugin@{version}, and this host offers elita:plugin@{WIT_VERSION}; build it with that WIT"
    )))
}
