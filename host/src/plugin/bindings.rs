//! What wasmtime makes of `wit/`, alone in its file so that it is expanded again only when the WIT changes.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "elita:plugin/builds.package-writer": crate::plugin::host::packages::Package,
    },
    trappable_error_type: {
        "elita:plugin/types.error" => crate::plugin::host::HostError,
    },
});
