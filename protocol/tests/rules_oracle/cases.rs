//! Lines and files to judge: written by hand, and made from a seed.

/// Redirects that are written by hand: each platform's own examples, and what tells them apart.
pub(crate) const REDIRECT_LINES: &[&str] = &[
    "/home /",
    "/blog/my-post.php /blog/my-post",
    "/news /blog 301",
    "/cuties https://www.example.com",
    "/authors/c%C3%A9line /authors/about-c%C3%A9line",
    "/authors/c\u{e9}line /authors/about-c\u{e9}line",
    "/a b /c",
    "/a%20b /c%20d",
    "/ /start 302",
    "/* /index.html 200",
    "/* /index.html",
    "/ /index 302",
    "/* / 200",
    "/pass-through /index.html 200",
    "/en/* /en/404.html 404",
    "/gone/* /gone.html 410",
    "/app/ /app/index.html 200!",
    "/news/* /blog/:splat",
    "/news/:year/:month/:date/:slug /blog/:date/:month/:year/:slug",
    "/news/:year/* /blog/:year-:splat 307",
    "/posts/:id/ /p/:id 308",
    "/a/* /:splat 303",
    "/:x/b /c/:x",
    "/x/:x.html /y/:x",
    "/x/pre-:x /y/:x",
    "/wiki/Special:Search /w/Find",
    "/12:30 /noon",
    "/blog* /news",
    "/a/*/b /c",
    "/*/x /c",
    "/*.php /c",
    "/:x/:x /c",
    "/:splat/* /c",
    "/store id=:id /blog/:id 301",
    "/articles id=:id tag=:tag /posts/:tag/:id 301",
    "/path/* param1=:value1 /otherpath/:value1/:splat 301",
    "/store id=7 /seven",
    "/store id /x",
    "/store id= /empty",
    "/store id=a=b /x",
    "/store id=1 id=2 /x",
    "/api/* https://api.example.com/:splat 200",
    "/api https://api.example.com/ 301",
    "/api/* 200",
    "/api/* 301",
    "/api 200",
    "/o/* https://o.example/:splat 302",
    "/o http://o.example/x 302",
    "/o https://o.example:8443/x",
    "/o https://:x.example/",
    "/:x https://:x.example/",
    "/o https://me:pw@o.example/",
    "/o https://\u{f6}.example/",
    "/o //o.example/x",
    "/o ftp://o.example/",
    "/o mailto:me@o.example",
    "/o /x?y=1",
    "/o /x?y=:y",
    "/o /x#frag",
    "/o /x?y=1#frag",
    "/o /x/:y",
    "/o /x/../y",
    "/o /x 300",
    "/o /x 302x",
    "/o /x 500",
    "/o /x yes",
    "/o /x 302 # why",
    "/o /x # why",
    "/o /x #why",
    "# /o /x",
    "   # indented",
    "/o # /x",
    "/o",
    "o /x",
    "/o x",
    "/o /x /y",
    "/o /x 302 /y",
    "http://blog.example/* https://www.example/blog/:splat 301!",
    "https://blog.example/a /x",
    "/ /anz 302 Country=au,nz",
    "/china/* /zh/:splat 302 Language=zh",
    "/admin/* /admin/:splat 200! Role=admin",
    "/beta /beta.html 200 Cookie=is_beta",
    "/ /de country=de",
    "/x country=us /y",
    "/p https://p.example/ 200 Sign=KEY",
    "/.netlify/functions/x /y",
    "/x /.netlify/functions/y 200",
    "/_icd/health /y",
    "/x /_icd/health 200",
    "/a?b=c /x",
    "/a#b /x",
    "//a /x",
    "/a//b /x",
    "/a/../b /x",
    "/%2e%2e/b /x",
    "/a%2Fb /x",
    "/%zz /x",
    "/a /a",
    "/a /a/",
    "/a/ /a",
    "/* /x/:splat",
    "/a/* /a/b/:splat",
    "/a/* /a/:splat",
    "/same /same?x=1",
    "\t/tab\t/x\t302\t",
    "/nbsp\u{a0}/x",
    "/crlf /x 302\r",
    "/c /d'e(f)!$&*+,;=:@",
    "/c /d[e]|f^g`h",
    "/c /d[e]|f 302",
    "/c /d\\e",
    "/c /100%",
    "/u/:x /v/:x?w=:x#:x",
];

/// Blocks of header rules that are written by hand; each is a file.
pub(crate) const HEADER_BLOCKS: &[&str] = &[
    "/*\n  X-Frame-Options: DENY\n  X-Content-Type-Options: nosniff\n  Referrer-Policy: no-referrer",
    "/secure/page\n  X-Frame-Options: DENY",
    "/static/*\n  Access-Control-Allow-Origin: *\n  X-Robots-Tag: nosnippet",
    "/*\n  cache-control: max-age=0\n  cache-control: no-cache\n  cache-control: no-store",
    "/*\n  Cache-Control: a\n  cache-control: b",
    "/movies/:title\n  x-movie-name: You are watching \":title\"",
    "/movies/:title/*\n  X: :title :splat :other",
    "/*.jpg\n  X-Robots-Tag: noindex",
    "/a/*/c\n  X: 1",
    "/*/*\n  X: 1",
    "/a*b\n  X: 1",
    "/a/:x/c\n  X: 1",
    "/:x.html\n  X: :x",
    "/a:b\n  X: 1",
    "/a/\n  X: 1",
    "/a\n  ! Access-Control-Allow-Origin",
    "/a\n  ! X-Content-Type-Options\n  X-Content-Type-Options: other",
    "/*\n  X-Frame-Options: DENY\n  X-Frame-Options: SAMEORIGIN",
    "/a\n  X: 1\n  ! X",
    "/a\n  !Access-Control-Allow-Origin",
    "/a\n  ! a: b",
    "/a\n  Link: </x>; rel=preload, </y>; rel=preload",
    "/a\n  X: a,b  ,c",
    "/a\n  X: one: two # three",
    "/a\n  Content-Type: text/css",
    "/a\n  Content-Security-Policy: default-src 'self'; img-src https://img.example",
    "/a\n  X:   spaces   ",
    "/a\n\tX:tab",
    "/a\r\n  X: crlf\r",
    "/a\n# note\n\n  X: 1",
    "/a # note\n  X: 1",
    "/a b\n  X: 1",
    "/c%C3%A9\n  X: 1",
    "/c\u{e9}\n  X: 1",
    "/A\n  X: 1",
    "/a",
    "/a\n  nonsense",
    "/a\n  X:",
    "/a\n  : y",
    "/a\n  a b: y",
    "/a\n  X: \u{e9}",
    "/a\n  Content-Length: 5",
    "/a\n  ETag: \"x\"",
    "/a\n  Basic-Auth: me:secret",
    "/a\n  Vary: Origin",
    "/a\n  ! Vary",
    "  X: 1",
    "https://site.example/a\n  X: 1",
    "https://other.example/*\n  X: 1",
    "https://other.example:8080/*\n  X: 1",
    "http://other.example/*\n  X: 1",
    "/_icd/*\n  X: 1",
    "//a\n  X: 1",
    "/a/../b\n  X: 1",
];

/// Paths that header rules are asked for.
pub(crate) const HEADER_PATHS: &[&str] = &[
    "/",
    "/a",
    "/a/",
    "/A",
    "/a/b",
    "/a/b/c",
    "/a/c",
    "/ab",
    "/axb",
    "/b",
    "/movies/up",
    "/movies/up/x/y",
    "/img/x.jpg",
    "/static/",
    "/secure/page",
    "/c%C3%A9",
    "/a%20b",
    "/x.html/y",
];

/// Numbers that are the same in every run (splitmix64).
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).expect("it is small");
        usize::try_from((mixed ^ (mixed >> 31)) % bound).expect("it is below the bound")
    }

    fn pick<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len())]
    }

    /// Returns a redirect line, which more often than not every platform takes.
    pub(crate) fn redirect_line(&mut self) -> String {
        let from = self.made_path();
        let conditions = self.pick(&[
            "",
            "",
            "",
            "",
            "",
            " q=1",
            " q=:q",
            " id=:id q=1",
            " q",
            " id=",
        ]);
        let to = self.pick(&[
            "/t",
            "/t/",
            "/t/u",
            "/t/:x",
            "/t/:splat",
            "/:splat",
            "/t/:x-:y",
            "/t?z=1",
            "/t?z=:x",
            "/t#f",
            "/",
            "/index.html",
            "/a/b",
            "/a/",
            "/a%20t",
            "https://o.example",
            "https://o.example/p/:splat",
            "https://o.example/p?z=1",
            "http://o.example/p",
            "//o.example",
            "t",
        ]);
        let status = self.pick(&[
            "", "", " 301", " 302", " 303", " 307", " 308", " 200", " 200", " 404", " 410",
            " 302!", " 200!", " 500", " x",
        ]);
        let tail = self.pick(&[
            "",
            "",
            "",
            "",
            "",
            "",
            " # note",
            " Country=us",
            " Cookie=b",
            " more",
        ]);
        format!("{from}{conditions} {to}{status}{tail}")
    }

    fn made_path(&mut self) -> String {
        let depth = self.below(4);
        let mut path = String::new();
        for _ in 0..depth {
            path.push('/');
            path.push_str(self.pick(&["a", "a", "b", "b", "c%20d", "\u{e9}", ":x", ":y", "a:x"]));
        }
        path.push_str(self.pick(&["", "", "/", "/*", "/*", "*"]));
        if path.is_empty() { "/".into() } else { path }
    }

    /// Returns a block of header rules.
    pub(crate) fn header_block(&mut self) -> String {
        let mut block = self
            .pick(&[
                "/*",
                "/a",
                "/a/*",
                "/a/:x",
                "/:x/b",
                "/*.jpg",
                "/a/*/c",
                "/b",
                "/movies/:title/*",
                "/",
            ])
            .to_owned();
        for _ in 0..=self.below(3) {
            block.push_str("\n  ");
            block.push_str(self.pick(&[
                "X-A: 1",
                "X-A: 2",
                "x-b: 3",
                "X-B: four",
                "! X-A",
                "! X-B",
                "Cache-Control: no-cache",
                "Cache-Control: private",
                "! Cache-Control",
                "X-Robots-Tag: noindex",
                "! Referrer-Policy",
                "X-C: :splat",
                "X-C: :x",
            ]));
        }
        block
    }
}

/// Returns requests that a redirect line may match, and some that it may not.
pub(crate) fn requests_for(line: &str) -> Vec<String> {
    let from = line.split_whitespace().next().unwrap_or("/");
    let path = from.split("://").last().unwrap_or(from);
    let mut paths = Vec::new();
    for (hole, splat) in [
        ("v", "w"),
        ("v", ""),
        ("u%20v", "w/z"),
        ("v", "w/z/"),
        ("v", "/w"),
    ] {
        let filled: Vec<String> = path
            .split('/')
            .map(|segment| match segment.split_once(':') {
                Some((before, _)) => format!("{before}{hole}"),
                None => segment.replace('*', splat),
            })
            .collect();
        let filled = filled.join("/");
        paths.push(format!("{}/", filled.trim_end_matches('/')));
        paths.push(filled.trim_end_matches('/').to_owned());
        paths.push(filled);
    }
    paths.push("/other".into());
    let mut requests = Vec::new();
    for path in paths {
        if !path.starts_with('/') || path.contains(['?', '#', '*', '\\']) || path.contains("%zz") {
            continue;
        }
        for query in ["", "?q=1", "?id=7&q=1&r=2", "?id="] {
            requests.push(format!("{path}{query}"));
        }
    }
    requests.sort();
    requests.dedup();
    requests
}
