"""Nested tensors in files. ``TORCH_ARCHIVE`` is a file that PyTorch 2.13 wrote."""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import pytest

import flambeau as torch
from flambeau._serialization import nested

# fmt: off
TORCH_ARCHIVE = (
    'c-qBSi=PwK6`pL^2VvPPFBhSO6{rjfOS0Kyvx)+drjMcPGCmp~+hItC+=0B#%+0#krY_pug3^{+i}r=|seLK7w$e9!(`v0!ZPi+fwYJ*FkNycgcW#oMnPjtp_Sepj!|YDx'
    'JLkLSe&^hi9g)0q1fiotsJXg@g@S4%i9V)nOsQ1uE9}k0V_m|Hj%%W&1cI1oL%<$2oz_y|Nzy#R`V^|=%)H@K3~g6Y&!m*yMn0?1eFaS!>-Ry6Sbi_3nN&;lDSD1-Mo!I?'
    'AJo8ed#De*&4Grk->&7qz?>4aa*AVWrl^_FMyk=3BGohIbQJEuV%W}K@m1V(h+?80otXGoO=~c>{CPZ+SLrqUp$~is555zCc?mDxlZ7I5N`4CScSwTNDtV`%OY%ydDexam'
    'Ci9t$mZW+<XZo%-QktQqw&_V+W%oK67EoANf<=i{=tW8G%c<GCQZVubHLbFRT2J&OCLpCJaY>7lio#Yv^_-&kObxv(8HEcZL7jvi8J3z9E|g)JwSfHY-S~nD%SpQ^lFBl+'
    '=X2@mD&AnNA_#9JosyTr3dY_$2`eSfB=jC6jNnBSR>`p1@|e+bX-Z63Gn|;m_!^cJ6g@Q#Z<0I-KYNzdsLFJtB-JF*;NlXj6%#)EB#V?y4bTUOxG|)ibTC?kXR;sGAqRoN'
    'C5%IhBuv4jl80q*J?F83LSG3siisXurrhZX5X?r<%0|Bop~R9p?;2_jcXfch8Lp^<ztWe|l9(8LhDzC{XJz)L4<hUK!{8`HMM)SQ)^?%qAsH@9TwwD}P@qbFOfw8Ug)}ZN'
    '!KOqP``j#ONnOq8w`xj02UnEfN=X=n%_d(3QOznlJ*#9@W3Qe|!<GX@3R`7}@w}<ymAqY5o3{{b<9U0twRbFUah|ug@Vvd1!rMylc9B@Qk*wTom*E}6%D^yTtGjv>My6M{'
    'Lk5}P60RZ0_gcpHI+IwOu9xAR#l(CJYiLl^4b4>2hMI!Jf#M|GP=Xsp!gRo-qLgd!CbBHSx{gv&<IQ9>e^3$A=rFmMtR;&Xop(tdB%sK!6Qijz>?&6xOKS>}GZeG4DL_i('
    'f-h%i05oFN=5CfD|0JZDx(UyYPGOG>d&>Y`4q?b3U=D>WmtxBl<nV?m&2vzJ0?1%EKoKxGh*m*G4jSX2TPTdnu+IS+gj*5RLgC#OXcFGTsFgV2y%cVfVS>Vb8E#Ls;_D=z'
    '!HnL)MBpXZ?cOJnwpv9*VG^CLpfJUp`dBY|Kkr2cxZ{Hq?kvGwJmZHfL3}`l4`S>1kPL^(atFmB_%QDccb9v^M;OI>xTlX&I3mNnWK9*)!rDmy?&Hh)Sb13=XP8fL%qJ;)'
    'N`|9MC<L3s{UUL71ItAaj&WIky4nst!)5(h?&fn8K3{?_lx6*ZwTcI2_#&6}mn>O-c@(}fE$gq!@DP*r!%Wu4nXDfv%ld0Fe4SiXheba;%2|A)T3p}cEFR-5PEhz(3BFxs'
    '@g0lBcV+k<XYqZD#Scc|<TQ&P%J3t`;>V1|PZ*1zmRbBvhMyNn;vkmNsS^CcDkX9gIZSRQ_mWX^6szQZzGuI*s^oDQo<P{IWO&l*6BHYpS;(7MD8DAQ8n9Lpf~R;9JY6n='
    '(`-wA!&mVPg=b~>t#cCx;CEcm&s7EeJQwr}9QAt&FUs%-Cn^jtanv8Hs52b(GDrQ1!YeZT*@=q4t6VUDDGTPWjNNM-@j8XS$?$gy|B&II#l8`#y(50;@#pWvCc<oF#>u8f'
    '2v#SXzTJ5vt5OA9w223CJhs6#;LLIbS=h(UzIX?#31%~gT_y}phb<2g3LXLJTvp4`cr0{ok@*!FU<5Yb0<W`#wKOEKK-gR*uxlUH@@(da$1XpgxRooTQ<~8jhsi5mxsc6R'
    'Z4Ehe30FF%%8h||?6UuW0QWkv8UNdY|IjATj-mB##W4(R3)%?UPP78r1lj?#!&@2a<?z7vO$gpJ3+oOi>tH-KN0^S!GtaKp@}2o!`||$GQv7*o)wfXB_j;%A{&-AmIwOtz'
    'E_V72#bez<eSAkV_<?%(|5N_MmHb!o?w#SzV(gC{d8rqF?wuvZ8fT11Jk~qwK2+j(TyZ_N_%|GqA3cxwgU!URpxbQmPRE|Pq}%!i*ErsQGhQ?v3kd(c`a6ks22H@d?%vvr'
    '9t7b&v}0%wq8&#&fp!w@6xvg0&!L?`d(F~LY02%eaSSj%%Q`!q>l}*5I)s_>H`kWOvnN)bb=Ge^|9;_8S8u?Uwzk<sw$#z<v-&-+I`>bg8#m;Ni%n_cxo%)1|BGDyu`&6D'
    'ru#=NK2!()zv&--q20v=o0(Uz)o)9K{?WNge`xml^$V+AF|bLkoNYg5>Kpd>qxp4*&nJGQiTLN=KkWLePEY5ozmShbeEMkmy4mNK6+-{?0A(%F)C}uOw95X7qUfo3tnVBN'
    '1j0js$k1S5C=v<>`lI3gU^E(xga+|G6b%m!gd>qqBsvhXrmTk_*(o9q(PHVbBvavOpFF#3n7jXu=0@8G$Q}psg$`k+S=H^tJ_IgvIN32*XfS!Y{n!V&1r9%_ZGNf)q#JIp'
    '$Sw!`dY|B${oGjl#N@<w&U0ad6>R<4$9@qvw!eAoNjEms{Ce@=aZONetbH<ZVh_2oVK>%3RXDN#a$_TIti8gW*us1lcF>KrpSn)$88<fS#@bI*C-zjA3p?b-+D}El11tL7'
    '+6Xk-U?=!k4LI05n2~Xvk&Wcx1aGMU*J#Ur@;Jdy)PQTmWj{8Y;J^YmINV4fPVn&>aE-j|?c53OT`0H@jhZ%Q>#{2x;Ja<$`u%@IYHM3xIW4>!Y~T2u_ao)6Y0*WMQ?HHv'
    'JyCda>GUZ)BDJ=0Opo<GfA`<AgS)l'
)
# fmt: on


def load(data: bytes) -> Any:
    return torch.load(io.BytesIO(data))


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def pieces() -> list[torch.Tensor]:
    return [torch.arange(6.0).reshape(2, 3), torch.arange(9.0).reshape(3, 3) + 10]


def same(tensor: Any, expected: list[torch.Tensor]) -> None:
    assert [piece.tolist() for piece in tensor.unbind()] == [piece.tolist() for piece in expected]


def test_files_of_pytorch() -> None:
    found = load(zlib.decompress(base64.b85decode(TORCH_ARCHIVE)))
    for name in ("jagged", "strided"):
        same(found[name], pieces())
        assert found[name].layout == getattr(torch, name)
    assert found["jagged"].requires_grad
    same(found["transposed"], [piece.t() for piece in pieces()])
    rows = torch.arange(30.0).reshape(2, 5, 3)
    same(found["holes"], [rows[0, :2], rows[1, 1:4]])
    assert found["holes"].lengths().tolist() == [2, 3]


def test_names_in_files_are_those_of_pytorch() -> None:
    file = saved([torch.nested.nested_tensor(pieces(), layout=layout) for layout in (torch.jagged, torch.strided)])
    for name in (b"torch.nested._internal.nested_tensor", b"_rebuild_njt", b"_rebuild_nested_tensor"):
        assert name in file
    assert b"flambeau" not in file


def test_the_layout_itself() -> None:
    assert load(saved({"layout": torch.jagged}))["layout"] is torch.jagged


def test_tensors_of_one_structure_share_their_offsets_in_a_file() -> None:
    first = torch.nested.nested_tensor(pieces(), layout=torch.jagged)
    one, two = load(saved([first, first * 2]))
    same(one + two, [3 * piece for piece in pieces()])


@pytest.mark.parametrize(
    ("sizes", "strides", "offsets"),
    [
        ([[2, 3]], [[4, 1]], [0]), ([[2, 3]], [[3, 1]], [1]), ([[2, 4]], [[4, 1]], [0]), ([[-2, -3]], [[-3, 1]], [0]), ([[2.0, 3.0]], [[3.0, 1.0]], [0]),
    ],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(sizes: list, strides: list, offsets: list) -> None:
    with pytest.raises(RuntimeError, match="gaps between their elements|cannot be made of|invalid sizes"):
        nested._rebuild_nested_tensor(torch.ones(6), torch.tensor(sizes), torch.tensor(strides), torch.tensor(offsets))


def test_rows_that_are_not_there_are_refused() -> None:
    described = {"values": torch.ones(3), "offsets": torch.tensor([0, 2, 5]), "lengths": None}
    with pytest.raises(RuntimeError, match="values has 3 rows"):
        nested._rebuild_njt(described)
