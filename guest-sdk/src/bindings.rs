//! What `wit-bindgen` makes of the WIT package in `wit/`.
//!
//! The rest of the crate is the pleasant way to the same things; this is for a plugin that needs the raw one.

wit_bindgen::generate!({
    path: "../wit",
    world: "plugin",
    pub_export_macro: true,
    default_bindings_module: "elita_plugin::bindings",
});
