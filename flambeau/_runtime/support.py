"""Conversions to and from half precision for processors that lack the instructions.

Where there is none, LLVM calls a function that C compilers ship in a library of their own, which a Python process need not
have. These stand in for them; ``jit.py`` links those that an object mentions. Each rounds once, to nearest even.
"""

from __future__ import annotations

_ROUND_TO_HALF = """
  %sign = and i32 %bits, 2147483648
  %size = xor i32 %bits, %sign
  ; A normal number: rebias the exponent, add just less than half of the last place, or just half if that is odd.
  %odd.far = lshr i32 %size, 13
  %odd = and i32 %odd.far, 1
  %rebiased = sub i32 %size, 939520001 ; 112 << 23, less 0xfff
  %rounded = add i32 %rebiased, %odd
  %normal = lshr i32 %rounded, 13
  ; A subnormal one: adding 0.5 leaves its units of 2^-24 in the last places.
  %value = bitcast i32 %size to float
  %shifted = fadd float %value, 5.0e-1
  %shifted.bits = bitcast float %shifted to i32
  %subnormal = sub i32 %shifted.bits, 1056964608
  %small = icmp ult i32 %size, 947912704 ; 2^-14
  %finite = select i1 %small, i32 %subnormal, i32 %normal
  %large = icmp uge i32 %size, 1199570944 ; 2^16
  %number = select i1 %large, i32 31744, i32 %finite
  %payload.far = lshr i32 %size, 13
  %payload = and i32 %payload.far, 1023
  %quiet = or i32 %payload, 32256
  %nan = icmp ugt i32 %size, 2139095040
  %result = select i1 %nan, i32 %quiet, i32 %number
  %sign.near = lshr i32 %sign, 16
  %signed = or i32 %result, %sign.near
  %short = trunc i32 %signed to i16
  %half = bitcast i16 %short to half
  ret half %half
"""

_ROUND_TO_BFLOAT = """
  %odd.far = lshr i32 %bits, 16
  %odd = and i32 %odd.far, 1
  %nudge = add i32 %odd, 32767
  %rounded = add i32 %bits, %nudge
  %quiet = or i32 %bits, 4194304
  %size = and i32 %bits, 2147483647
  %nan = icmp ugt i32 %size, 2139095040
  %chosen = select i1 %nan, i32 %quiet, i32 %rounded
  %high = lshr i32 %chosen, 16
  %short = trunc i32 %high to i16
  %result = bitcast i16 %short to bfloat
  ret bfloat %result
"""

# A double is first rounded to a float whose last bit is odd if anything was lost. That bit can only break ties, as it
# should, so that rounding again gives what rounding once would.
_ROUND_TO_ODD = """
  %near = fptrunc double %x to float
  %near.bits = bitcast float %near to i32
  %back = fpext float %near to double
  %back.size = call double @llvm.fabs.f64(double %back)
  %x.size = call double @llvm.fabs.f64(double %x)
  %above = fcmp ogt double %back.size, %x.size
  %one = zext i1 %above to i32
  %below.bits = sub i32 %near.bits, %one
  %inexact = fcmp one double %back, %x
  %sticky = zext i1 %inexact to i32
  %bits = or i32 %below.bits, %sticky
"""

_FUNCTIONS = {
    "__extendhfsf2": """define float @__extendhfsf2(half %x) {
  %short = bitcast half %x to i16
  %bits = zext i16 %short to i32
  %sign = and i32 %bits, 32768
  %size = xor i32 %bits, %sign
  %shifted = shl i32 %size, 13
  %normal = add i32 %shifted, 939524096 ; 112 << 23
  %units = uitofp i32 %size to float
  %small.value = fmul float %units, 0x3E70000000000000 ; 2^-24
  %subnormal = bitcast float %small.value to i32
  %small = icmp ult i32 %size, 1024
  %finite = select i1 %small, i32 %subnormal, i32 %normal
  %special = or i32 %shifted, 2139095040
  %nan = icmp ugt i32 %size, 31744
  %quiet = select i1 %nan, i32 4194304, i32 0
  %special.quiet = or i32 %special, %quiet
  %large = icmp uge i32 %size, 31744
  %result = select i1 %large, i32 %special.quiet, i32 %finite
  %sign.far = shl i32 %sign, 16
  %signed = or i32 %result, %sign.far
  %value = bitcast i32 %signed to float
  ret float %value
}""",
    "__truncsfhf2": f"define half @__truncsfhf2(float %x) {{\n  %bits = bitcast float %x to i32{_ROUND_TO_HALF}}}",
    "__truncsfbf2": f"define bfloat @__truncsfbf2(float %x) {{\n  %bits = bitcast float %x to i32{_ROUND_TO_BFLOAT}}}",
    "__truncdfhf2": f"define half @__truncdfhf2(double %x) {{{_ROUND_TO_ODD}{_ROUND_TO_HALF}}}",
    "__truncdfbf2": f"define bfloat @__truncdfbf2(double %x) {{{_ROUND_TO_ODD}{_ROUND_TO_BFLOAT}}}",
}

SOURCES = {name: f"declare double @llvm.fabs.f64(double)\n{text}\n" for name, text in _FUNCTIONS.items()}
"""IR by name of the function."""


def mentioned(code: bytes) -> list[str]:
    """Which of the functions an object file refers to."""
    return [name for name in SOURCES if name.encode() in code]
