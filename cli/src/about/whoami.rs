//! `elita whoami`: as whom one works, with which token, and what one may do.

use clap::Args;
use serde_json::json;

use crate::exit::Code;
use crate::failure::Result;
use crate::output::{Cell, shown};
use crate::session::{Session, text};

/// Show as whom you work, where, with which token, and what you may do
#[derive(Args, Debug)]
pub(crate) struct Whoami {}

impl Whoami {
    pub(crate) async fn run(self, session: &Session) -> Result<Code> {
        let token = session.client.get("/global/tokens/current").await?;
        let permissions = session.client.get("/global/users/current/permissions").await?;
        let output = &session.output;
        let server = session.client.base().as_str().trim_end_matches('/');
        let origin = session.client.token().map(|token| token.origin.clone()).unwrap_or_default();
        if output.quiet && !output.json {
            output.line(text(&token, "username"));
            return Ok(Code::Done);
        }
        let document = json!({ "server": server, "origin": origin, "token": token, "permissions": permissions });
        let mut rows = vec![
            ("user".to_owned(), Cell::of(&token["username"])),
            ("server".to_owned(), Cell::text(server)),
            ("context".to_owned(), Cell::text(session.context.as_deref().unwrap_or("–"))),
            ("token".to_owned(), Cell::text(origin)),
            ("ends".to_owned(), Cell::time(&token["expires_at"])),
        ];
        rows.extend(session.default_app().map(|app| ("app".to_owned(), Cell::text(app))));
        for member in ["apps", "actions", "servers"] {
            rows.push((format!("may: {member}"), Cell::text(shown(&permissions[member]))));
        }
        output.details(&document, rows);
        Ok(Code::Done)
    }
}
