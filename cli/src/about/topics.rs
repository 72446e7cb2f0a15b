//! `elita help exit-codes|environment|output`.

use crate::exit::TABLE;

/// The variables that the client reads.
pub(crate) const ENVIRONMENT: &str = "\
ELITA_SERVER       the server, as --server
ELITA_TOKEN        the token; needs ELITA_SERVER or --server
ELITA_TOKEN_FILE   a file with the token, as --token-file
ELITA_CONTEXT      the context, as --context
ELITA_APP          the application, for commands that name no other
ELITA_CONFIG_DIR   the folder of config.toml and credentials.toml [default: ~/.config/elita]
ELITA_DATA_DIR     the data directory of a server on this machine [default: ./elita-data, or that of a folder above]
HTTPS_PROXY        the proxy, HTTP_PROXY for http://; NO_PROXY excludes servers
NO_COLOR           no colours; CLICOLOR_FORCE=1: colours everywhere
CI                 never ask anything
EDITOR             what `edit` opens documents in [default: vi]
";

const OUTPUT: &str = "\
Standard output is the answer. Standard error is everything else: progress, questions, warnings, errors.

On a terminal there are tables, cut to its width, colours and ages. In a pipe there are no titles, a tab between
values, nothing is cut, and times are RFC 3339.

--json prints the documents of the API as they are: one for one thing, an array for a list, one a line for what is
followed. An error is one line of JSON on standard error. /openapi.json is the reference: elita api GET /openapi.json

-q prints names or ids only, one a line.

Which server and token are used: ELITA_TOKEN with ELITA_SERVER, --token-file with --server, --context, the current
context, and then a server on this machine, in this order. elita whoami says which.
";

/// The text of a topic.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    match name {
        "exit-codes" => Some(TABLE),
        "environment" => Some(ENVIRONMENT),
        "output" => Some(OUTPUT),
        _ => None,
    }
}
