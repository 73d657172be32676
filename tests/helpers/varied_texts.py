"""Texts that tokenizers treat differently: digits, code, scripts, emoji, runs of spaces."""

from __future__ import annotations

VARIED = (
    "The quick brown fox jumps over the lazy dog.",
    "It's 3.14159, we've 1234567890 and 007; they'll pay $1,000,000.00 (50%) on 2024-02-29.",
    " leading space, trailing space ",
    "tabs\tand\t\ttabs\n\nnew lines\n\n\n   and   runs    of     spaces      7",
    "a  12   b\n  34\n\t56",
    "def f(x: int) -> int:\n    if x <= 1:\n        return 1  # the end\n    return x * f(x - 1)\n",
    'for (int i = 0; i < n; ++i) { a[i] += "x\\n"; }  /* C */',
    "naïve façade, Größe, œuvre, İstanbul, ﬁne ligature, e\u0301 combined",
    "日本語のテキスト、中文文本，한국어 텍스트。",
    "Привет, мир! Γειά σου Κόσμε. שלום עולם. مرحبا بالعالم ١٢٣",
    "🙂 👩‍👩‍👧 🇫🇷 ❤️ 𝒳 \U00010348",
    "DON'T SHOUT, I'M HERE; she'd said 'tis so.",
    "http://example.org/a?b=c&d=%20#e_f user@example.org C:\\dir\\file.txt",
    "\u00a0non-breaking\u2003em space\u200bzero width\ufeff",
    "\x00\x01\x7f control",
    "x" * 200,
    "...!!!???---***___~~~^^^|||",
    "",
)
