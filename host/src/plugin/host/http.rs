//! The imported `wasi:http`: requests to the servers that are granted to the plugin.
//!
//! The resources are wasmtime's; `sandbox::http` sends the requests.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::io::error::Error as IoError;
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::{self, ErrorCode};
use wasmtime_wasi_http::p2::bindings::http::types::{self, HostOutgoingRequest as _, Method};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiHttp, WasiHttpView as _};

use crate::plugin::sandbox::instance::GuestState;

/// The interfaces in the version that wasmtime links; guests of any 0.2 get them.
const TYPES: &str = "wasi:http/types@0.2.12";
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// What else a request that is not sent yet keeps in memory: its method, its server and its path. wasmtime bounds the
/// scheme.
const MAX_METHOD_BYTES: usize = 64;
const MAX_AUTHORITY_BYTES: usize = 300;
const MAX_PATH_BYTES: usize = 16 * 1024;

/// Adds `types` and `outgoing-handler`; no other interface of the package is offered.
pub(crate) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, WasiHttp>(linker, &LinkOptions::default().into(), GuestState::http)?;
    // wasmtime's own knows no code for what goes wrong while a response is read.
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("http-error-code", error_code)?;
    // And it takes these in any length.
    types.func_wrap("[method]outgoing-request.set-method", set_method)?;
    types.func_wrap("[method]outgoing-request.set-authority", set_authority)?;
    types.func_wrap("[method]outgoing-request.set-path-with-query", set_path_with_query)?;
    linker.allow_shadowing(false);
    linker.instance(OUTGOING_HANDLER)?.func_wrap("handle", handle)
}

/// `outgoing-handler.handle`, for a run only.
fn handle(
    mut store: StoreContextMut<'_, GuestState>,
    (request, options): (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>),
) -> wasmtime::Result<(Result<Resource<HostFutureIncomingResponse>, ErrorCode>,)> {
    let state = store.data_mut();
    state.run("wasi:http/outgoing-handler.handle")?;
    // The WIT allows a request without a path, and wasmtime does not.
    state.http().table.get_mut(&request)?.path_with_query.get_or_insert_with(|| "/".into());
    match outgoing_handler::Host::handle(&mut state.http(), request, options) {
        Ok(response) => Ok((Ok(response),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// `types.outgoing-request.set-method`.
fn set_method(
    mut store: StoreContextMut<'_, GuestState>,
    (request, method): (Resource<HostOutgoingRequest>, Method),
) -> wasmtime::Result<(Result<(), ()>,)> {
    if matches!(&method, Method::Other(method) if method.len() > MAX_METHOD_BYTES) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_method(request, method)?,))
}

/// `types.outgoing-request.set-authority`.
fn set_authority(
    mut store: StoreContextMut<'_, GuestState>,
    (request, authority): (Resource<HostOutgoingRequest>, Option<String>),
) -> wasmtime::Result<(Result<(), ()>,)> {
    if authority.as_ref().is_some_and(|authority| authority.len() > MAX_AUTHORITY_BYTES) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_authority(request, authority)?,))
}

/// `types.outgoing-request.set-path-with-query`.
fn set_path_with_query(
    mut store: StoreContextMut<'_, GuestState>,
    (request, path): (Resource<HostOutgoingRequest>, Option<String>),
) -> wasmtime::Result<(Result<(), ()>,)> {
    if path.as_ref().is_some_and(|path| path.len() > MAX_PATH_BYTES) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_path_with_query(request, path)?,))
}

/// `types.http-error-code`.
fn error_code(
    mut store: StoreContextMut<'_, GuestState>,
    (error,): (Resource<IoError>,),
) -> wasmtime::Result<(Option<ErrorCode>,)> {
    let state = store.data_mut();
    let error = state.http().table.get(&error)?;
    let code = match (error.downcast_ref::<ErrorCode>(), error.downcast_ref::<WasiError>()) {
        (Some(code), _) => Some(code.clone()),
        (None, Some(error)) => Some(body_error_code(error)),
        (None, None) => None,
    };
    Ok((code,))
}

/// The same for what can go wrong while a response's body is read, which wasmtime passes on as it is.
fn body_error_code(error: &WasiError) -> ErrorCode {
    match error {
        WasiError::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        WasiError::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        WasiError::HttpResponseBodySize(limit) => ErrorCode::HttpResponseBodySize(*limit),
        WasiError::HttpResponseHeaderSectionSize(limit) => ErrorCode::HttpResponseHeaderSectionSize(*limit),
        WasiError::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        _ => ErrorCode::HttpProtocolError,
    }
}
