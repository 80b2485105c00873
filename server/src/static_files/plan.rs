//! A file's answer before its bytes are there: status, headers, and which bytes.
//!
//! Pure: conditions and ranges are looked at here, in the order of RFC 9110, section 13.2.2.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{
    SiteRequest,
    conditional::{self, Precondition},
    pages,
    prepared::{Head, Prepared, Role},
    range::{ByteRange, Multipart, Piece, Ranges, unsatisfied_content_range},
};

/// An answer whose bytes are still to be fetched.
#[derive(Debug)]
pub(super) struct Plan {
    /// The status.
    pub(super) status: StatusCode,
    /// The headers, `Content-Length` among them; of a page of the server's own, those that it does not
    /// always have.
    pub(super) headers: HeaderMap,
    /// The bytes.
    pub(super) body: PlannedBody,
}

/// Which bytes an answer has.
#[derive(Debug)]
pub(super) enum PlannedBody {
    /// None.
    Nothing,
    /// A page of the server's own.
    Page(&'static str),
    /// All of the file.
    Whole,
    /// Parts of it, joined.
    Pieces(Vec<Piece>),
}

impl Plan {
    /// Returns the answer to `request` with a representation of `length` bytes.
    ///
    /// `status` is that of an answer with all of it; a file that says that nothing is here has neither
    /// conditions nor parts.
    pub(super) fn new(
        prepared: &Prepared,
        head: &Head,
        length: u64,
        request: SiteRequest<'_>,
        status: StatusCode,
    ) -> Self {
        if prepared.role() == Role::ErrorPage {
            return Self::whole(head, request.method, status);
        }
        let validators = head.validators();
        match Precondition::evaluate(request.headers, &validators) {
            Precondition::Proceed => {}
            Precondition::NotModified => {
                return Self {
                    status: StatusCode::NOT_MODIFIED,
                    headers: head.not_modified.clone(),
                    body: PlannedBody::Nothing,
                };
            }
            Precondition::Failed => {
                return Self::page(StatusCode::PRECONDITION_FAILED, pages::PRECONDITION);
            }
        }
        let ranges = Ranges::requested(request.method, request.headers, length);
        if ranges == Ranges::Whole || !conditional::if_range_holds(request.headers, &validators) {
            return Self::whole(head, request.method, status);
        }
        match ranges {
            Ranges::Whole => Self::whole(head, request.method, status),
            Ranges::One(range) => Self::part(head, length, range),
            Ranges::Many(ranges) => Self::parts(prepared, head, length, &ranges),
            Ranges::Unsatisfiable => {
                let mut plan = Self::page(StatusCode::RANGE_NOT_SATISFIABLE, pages::RANGE);
                let value = unsatisfied_content_range(length);
                plan.headers.insert(header::CONTENT_RANGE, value);
                plan
            }
        }
    }

    fn whole(head: &Head, method: &Method, status: StatusCode) -> Self {
        Self {
            status,
            headers: head.whole.clone(),
            body: if method == Method::HEAD {
                PlannedBody::Nothing
            } else {
                PlannedBody::Whole
            },
        }
    }

    fn part(head: &Head, length: u64, range: ByteRange) -> Self {
        let mut headers = head.whole.clone();
        headers.insert(header::CONTENT_LENGTH, range.byte_count().into());
        headers.insert(header::CONTENT_RANGE, range.content_range(length));
        Self {
            status: StatusCode::PARTIAL_CONTENT,
            headers,
            body: PlannedBody::Pieces(vec![Piece::Range(range)]),
        }
    }

    fn parts(prepared: &Prepared, head: &Head, length: u64, ranges: &[ByteRange]) -> Self {
        let octets = HeaderValue::from_static("application/octet-stream");
        let content_type = prepared.content_type().unwrap_or(&octets);
        let digest = &prepared.found.entry.digest;
        let plan = Multipart::plan(ranges, length, content_type, digest);
        let mut headers = head.whole.clone();
        headers.insert(header::CONTENT_LENGTH, plan.content_length.into());
        headers.insert(header::CONTENT_TYPE, plan.content_type);
        Self {
            status: StatusCode::PARTIAL_CONTENT,
            headers,
            body: PlannedBody::Pieces(plan.pieces),
        }
    }

    fn page(status: StatusCode, html: &'static str) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: PlannedBody::Page(html),
        }
    }
}
