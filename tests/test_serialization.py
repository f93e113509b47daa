"""Saving and loading. ``TORCH_ARCHIVE`` and ``TORCH_LEGACY`` are files that PyTorch 2.13 wrote."""

from __future__ import annotations

import base64
import io
import os
import pickle
import re
import stat
import zipfile
import zlib
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import flambeau
from flambeau import nn, optim
from flambeau._serialization.archive import ArchiveWriter
from flambeau.serialization import load, safe_globals, save

# fmt: off
TORCH_ARCHIVE = (
    'c-o~`O>h%c9N&C4EZ7#Pe2e%6sY1wClK`b@1E$C-ltnP2xNeh|W?`GnfA^(dSgm3Lj^jbbgD1y}XOAB3$iW%M8As2~;EX3vGL9Ed^}V-'
    'gx^JOGo1MNSyLrEl_ul`bnUH*bK?sF}2d;i$o1mJ-iZ+9emQ<`pYS;CAu2;CiT}$3#(a?2N#F|mH#PenenW%JHD`F9ZK^Z*ZLXeP6tJu`$z+1!yp^PYXtm&4'
    'hm}s)D=_LiDs%4nUOk4zCI9%u<2#d^Arx5sUh?v(66<@R;iV!Gx$ebty3qJB*tkt1M+JYf;K@udN<Zr?z$uD`DAbwP#E;eJ>BEw?^kxa&>TD5A1g-Xy{A!-'
    '$WB~S@g7`~6<{gST<{gQ{$Y_;**Fl?7$fQgyLEIjT8?zli;{s!!nJPp`ogLY%sBg0;{{#m3=RWR&ZXZ<zRRHqR}rU*~0QnMAtU_TM?VtA4|^ETiB6?n=PcpA'
    'eqGCX^m-8^>-'
    '4$5$dsg+G*0aYQ~Nlls6a7D4OipiD^hHd56eqXE@=GuNg&)me}1>(ko;V^YWj2xja5!=mC3{e?k_Dy^d5^T4yIt9rB2{GY1s$m$iFr;KivnLf*FGGe?JwqO~'
    'MUOGj1RS@w;6!T+hN<XDTW17AR)*0+fJ~e;RjmqR9AA!wO)S;s%rVX+oU%Djw>V#<oOzpb9K#tIUMkR>s8=m*s!BrTY=_8Ah#;-'
    '$Mq1G;UaI2x8Y;ErUuN<{@CuO+VK~>4KTqW+Z21c<>vgS)6C@#I3>Rg1l_f>dn6Bw)4lZ$vJY_%SGvqQ;O2KRPi4};_;GnJWI)*DUyur?(tdj$JlixGL(AzX'
    'u8BH4AvS}0t&D$7M87A4@qv;x+hawld87L8ufC14}3N)+ABsob|PT2$`Av77TF&~z;fZ+OS?2#K0bjeFG(+#M~U@(~y-'
    'A$;qrcIXZ!xaHo*q6|ZRzzU7zP4{gu-Y{OH=r)V45O;)G+Jh_!d&>=?X&-'
    '^tgMWW`t8cc3}G~fVZNvojS?zaBC664A}la6;qJF^gK6q2)~YdhrwNNPyt@eRv8Ai9MCymP3GZ7)MWK;GW+{qjAyO7UxC%EVpW1*AWoU3;w~kkY=J;wA9?#y'
    'lKQ!T%47X7|G9mSZzW?FleI{829TV$T@SVb@b_I`=4U-'
    'gMWd@lRsnq#gz%Jx5O83p5zuu&_=~$m`kC0xYYX!KX>Lfp=Q5ENN30G_QPgg2Q4P<BG4=<7MKGMKeA=@@EIggP+n@v7<Vk5e%m#$%~BkG}X^7q~JM1zm?&?}'
    '5^UGZo%pF7@#0h@IxOI}9F9~nzzd`ZSK8NZPsjFDbU#sM;-'
    'W7O%~VtFJ=+g}H#1H98%KG!cisJ~3LmnrY@!}orqM4=A6!#r<1pUZ4`2Ydom9v=JqTIcic6>_|CBA*-S=J4tIGb=Z!gTF?8QfS)yJ2)8S9VGL);jSDA*-'
    '^Il{`*z50sWzF^=ZnJ+P6YI46Gz(H*o%`ZqC0I`)m&`AG~#U1N!N1^gUE~@4diReEkz1Dtw9;&g661F2nE2`s?fywzuWlRlCovmk{X!e*R+WQs?~HFT~dhI9'
    'q{*OpR3V1(p8yu4tuvF7iJY6pbBAr!%Q&VknVF9g9a}$z&p$No7*;WIUCM$7AtyCJ{>wQJ3N;cRvjiA7SRwL(R5*Iy+kb1J2#QL)>U*1KY_VzY7TK^*}d?vk'
    'C3t8&6PpMCWt!I2*}Uj^~bpr`^EZaA$Sz<={Jd1Xu5IW1SV8$1c0EF*nv(gL&+(kP91kW1ZEL$KG*c6K<@t^6}V#O)hNGjdfNm9{ZUaJLJYXtBq^Dq6?dHW1'
    'R(q$A0d{rdP2KFDYD@ZFXTZZe3@d_i@-I2X>wKcBbEc4*ZJ){P4msAq9hnSIda+h@(jH?_c{`LA=F&Cph}MML5*TX}iJ(f;Og)&9~?N3kx>nQv'
)
TORCH_LEGACY = (
    'c-n<jTXWk)6qaQrDI#sdopKF#hfA<!JF&SXX-iTnnl=g-aS1|^H<4OJ@+YlxE1`L@3H*jW@W{WQGyD-=dE>P+%!IQm)l&xp8m&fq_U!k4d-'
    'j}jsQ#pff8AcZJ9+(=Yv-'
    'm9)hmA#>3aaBWKSrH(oSL?dvWM&vm_1T2nBMmPt!^ma2_&;MXkV%pdQ&e8TnqDIcc!ZQWOuMmFy8Rrhc4ojF_rjq*)MgjGCIQ35+<}#F(jdI>hM_O~^b>EUA'
    '7qX|aU0E(RXgp-fpQl<ZO3vE}k4*oErxIPv^xr^ACV)t!W`cY?6xa2BO;;%pl_ilvf0CfLc--DJ?RE&5^@yL>e>>KL)lkWaH#X*9~^X1&s^&Xh4Kg?jA{X&Y'
    'bWIJIIbX3^Aoc)--'
    'mLJ#_nzR>g_$GC;l*~t?(O51VDS~%kqx3Bp_vCsM$=7hl1%wi7@nFRs;aEAE^$D<Y=lM0e}2ao?3*b_O}lPd(Jb#cxtbn#RM^fbpa7M_(++hM_`&+**9M6K;'
    '6?iS-'
    'L(eeC0=w_QnwOngfjRq!(P9?e*gm$%y7X{r*8QsequUL5XNKRh+0VNAll6xbG_gRG3|Bu_*3Apd1+~ssFZ<I0}`JJtb4C>$6n}gcw<$A4#w@6!ov`q_bB<pS'
    'QDQDU$9EOEzHmMz;E~CrcP0YwNyusQWvnfZzLQ`6NH{8HG0~#)osW0K(0SQLgXjTlomxt&5JUkx=33D0iJja5C^Rgb+6E}!(VF3NSOv}nlpW)&OhHAZT;KQ6'
    '@F=tp343{#7k2o${FlEkr@m4!zyZCs3<3eT~EPyK~cxsKRf#p1ySBYn8D#O3Vv0}lJ;n@f&cB_L2h~uyi`pF5<dTrLgr#a|n_kn)SVO#h@hJ|gl`5wL;nt(='
    'm#;BF?6+tKj@wGU=B8q2?>XHibn+(q3_|}3eHHt2T^?M0K6CIwZiao6^n1u~V+7cZLo4MQiMs^E2e3`o~wjFp3LB5<#bzJZFhZ|jl7Pcf*I~3O%tsyQgA6>q'
    'Ce0;n#FNDw|1#z~^(e@lKZZR*_StNdRK!Pd1{fb0#hAt1H3eq09h0X!C?E+a{>`<Ffd)Q4q#}TDNUXG)ujQZo=8urbi+r>=_-'
    'wiD1iJ;?PNy(q3xj(a?9=^A5i;32|Cffawf-elKG<8_+7l);*HY~SBhULcSu-'
    'hIR*78oVY4zSwlsj|cQ^;pUrN7cRzS;kuo9}xl%HhC{zI|M||B+7f^wKz_@iUD(G=8U{EGWtZjY%5ig}(vQ?CJR'
)
TORCH_META = (
    'c-p0uO>fgc5Qf)w>I4Jn2hh?&dkzw$v7N*%6;z6lFFue4Aypi(++^EYxN*kWln)815=u*N2riuX2XKXdfjA&IAQ0ljiNC<Eow~Lwr=qO1T3McV-e)~Ct{XxIp<E6fSz~Ad'
    'SzdF~-p2DSi&(|Z14pmr(Y@H(;hzF3ta4P)0j^10swkR0Vmn>Q^zd5Gc3Nh~@~kaPuqOeZ5<*{FCc*8l>zQrW?9wP}14|$j0)e#dxE4_r2{MLY@VhW#aE7o8;y!_F19H!s'
    'P1kX7lh|&%E8X^5*u$+`c9TeO>PiEoJviNfGd|}dIJ+69?b&T2S0%_BnLdmfTpz}0#_<MB__0kmmjXOs-KIq63x(Az4IV(lg+XqeA>TQ;$)umK1XHU5OWf(fMS~|Wy<#AP'
    '@52o9zO=u|XfG3(ZNOZwSU0k{A79@7yicWU*Hf!Cg=WKQ71v#F%Od7B_PX?Q=(XuY(IQJ`7VrOjd&c0{PPdpr+M&hZuBPSK8|^LJCVEXxcS&E>G6PtC2)}u1!4Cx(N6R6='
    '+GB!UR%N}mbQ0f#<=BKcm@)Kk{F)Z2i#U`ak8Z}MV!ou;uKx!BLOaWBGlCZ@;%8==8%i*WmO_HC!rDm@REar%db4r&`0qc5l*0z_FW<$UO*`O;#m3IGTY9bdk05eIQx@dK'
    '#fmI1RLa$|T2iVdtz1>K@`9qNno=oMWmR2dl&`)j-wTwZ;8Su8Hsp*>$=DI{<bN!wjt;<7O!<yOX>*lK5^ds{c;oVD$mAsRL>qBDmgi+8PdETcd9;i2G5Mr`61|($M*Cni'
    'rhOgJrrbYTp1GKKB7=@;oVp>3R}b1uxE3n2iSr{DoF6j5Np=3KJu!F={$L|wpvn62LF``=v6n9'
)
# pickle.dumps of [a transposed view, a bfloat16 Parameter, float64, Size([2]), a sparse identity, an empty meta tensor, a with an attribute]
TORCH_PICKLE = (
    'c-rliOKaOe5Xbeh4NenGLksOCrSza)jAJ`~oDxjQMSUhc=n@u1-b88@tyfwF95DD|*D1Pnd+VXceuI9deuP2~oz=s!!3n(@x>&NbJ3HF_{dZ=@+Si{YDQPEMkMA)O*iIEi%=JPZ-'
    '$wyHja;vf81_RFpvyY{0%n`3SqOjDIp%Q%dBp0Yvw&Qn(;>qlSoOALNg6Ak%if=FhrgeE`0@5pb*#MlrNVtgCEcvRHwOV>#3mlP#6jp1pUPlhZo-J?GUj1~{l07YRGFD&=w!nIMx'
    'lF!L#mFbrke%m3>^|MS}+t-g*Vq{v}kCiCVUY8oR$nNir|~NDfXEynM!uDh4LXRoE@i~Wh$FnVAE~3_B!=uyVh)UYfYN^wFePZjpA!YwRhm{gi5PyWvg107Tb6qZU^v#YYf--13u'
    'wL+>i{_P^R3F4Ry+|;|*ZoVVeO0z`pS&=;HwQU$`~{lFyGggE@}8pvS-ptP9L=0OO9TJH?)|4!C;>@7>mF;;l}1x6|n?5m#;@p4$R(WzKrMpVL()z;?o~ovn=CEP46_PjMkx3y(`'
    '@Vlk~IAe{GU$FN=K5Dq3O^oMikAy5x-77Jq5b`}RXa4pZhvV?vhA3DbjdDf6bLcX|?S*5dWLK4q<D%<0AknJUytdgwJXmq;uZo9Q4nYL208(WY}la`x&%lll;Bv=$fo-Rn50#w&J'
    '%_LOzYVG<z9QqsEg+rgFm^%)>^DLz&#%GLA(?h*8Kh%&#tUSH@1m!s$(!8^ig-AnWeUY+212xe=IL@m;9uM(@xzD5!Boxzv;i%5jxcEMg8zI~O>TqXuP!?ckQjQ=y`Gi5a)jr|@<'
    'Dn1%SN{SWv_}{'
)
# fmt: on


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b85decode(text))


def round_trip(obj: Any, *, weights_only: bool | None = None, **options: Any) -> Any:
    buffer = io.BytesIO()
    save(obj, buffer, **options)
    buffer.seek(0)
    return load(buffer, weights_only=weights_only)


# ----------------------------------------------------------------------------------------------- PyTorch's files


def test_reads_what_pytorch_has_pickled() -> None:
    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:  # what `import torch` means in a script that runs on Flambeau
            return super().find_class(re.sub(r"^torch\b", "flambeau", module), name)

    columns, parameter, dtype, size, sparse, nowhere, noted = Unpickler(io.BytesIO(unpacked(TORCH_PICKLE))).load()
    assert columns.tolist() == [[0, 3], [1, 4], [2, 5]] and noted.note == "kept" and noted.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert type(parameter) is nn.Parameter and parameter.dtype is flambeau.bfloat16 and parameter.tolist() == [1, 1]
    assert dtype is flambeau.float64 and type(size) is flambeau.Size and size == (2,)
    assert sparse.layout == flambeau.sparse_coo and sparse.to_dense().tolist() == [[1, 0], [0, 1]]
    assert nowhere.device.type == "meta" and nowhere.shape == (0, 3)


@pytest.mark.parametrize(
    ("file", "weights_only"), [(TORCH_ARCHIVE, True), (TORCH_ARCHIVE, False), (TORCH_LEGACY, True), (TORCH_LEGACY, False)]
)
def test_reads_what_pytorch_wrote(file: str, weights_only: bool) -> None:
    state = load(io.BytesIO(unpacked(file)), weights_only=weights_only)
    assert type(state) is OrderedDict
    matrix = state["matrix"]
    assert matrix.dtype is flambeau.float32 and matrix.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert state["transposed"].shape == (4, 3) and state["transposed"].stride() == (1, 4)
    assert state["row"].storage_offset() == 4 and state["row"].tolist() == [4, 5, 6, 7]
    matrix.add_(100)  # they are views of one storage
    assert state["row"].tolist() == [104, 105, 106, 107] and state["transposed"][1].tolist() == [101, 105, 109]
    assert type(state["weight"]) is nn.Parameter and state["weight"].requires_grad and state["weight"].tolist() == [1.5, -2.0]
    assert type(state["frozen"]) is nn.Parameter and not state["frozen"].requires_grad and state["frozen"].tag == "kept"
    assert state["half"].dtype is flambeau.float16 and state["half"].tolist() == [0.5, 65504.0]
    assert state["brain"].dtype is flambeau.bfloat16 and state["brain"].tolist() == [0.5, -3.0]
    if "unsigned" in state:  # PyTorch cannot read its own old files of this dtype
        assert state["unsigned"].dtype is flambeau.uint32 and state["unsigned"].tolist() == [1, 2**32 - 1]
    assert state["complex"].dtype is flambeau.complex64 and state["complex"].item() == 1 - 2j
    assert state["flag"].item() is True
    assert state["empty"].shape == (0, 3)
    assert type(state["size"]) is flambeau.Size and state["size"] == (2, 3)
    assert state["dtype"] is flambeau.bfloat16
    assert state["device"] == flambeau.device("cpu")
    assert state["plain"] == [None, True, -7, 2.5, "text", b"\x00\xff", {"a": (1, 2)}, {3}, 1j]


def test_writes_what_pytorch_wrote() -> None:
    """Byte for byte, up to the identification at the end, and up to which equal strings are the same object."""
    matrix = flambeau.arange(12.0).reshape(3, 4)
    for obj in (matrix, matrix.t(), matrix[1]):
        buffer = io.BytesIO()
        save(obj, buffer)
        assert buffer.getvalue()[: len(_VIEW_START)] == _VIEW_START
    expected = load(io.BytesIO(unpacked(TORCH_ARCHIVE)))
    again = round_trip(expected)
    assert str(again) == str(expected)


_VIEW_START = (
    b"PK\x03\x04\x00\x00\x08\x08"
    + bytes(18)
    + b"\x10\x00\x12\x00archive/data.pklFB\x0e\x00"
    + b"Z" * 14
    + (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\x00\x00\x00storageq\x01ctorch\nFloatStorage\nq\x02"
        b"X\x01\x00\x00\x000q\x03X\x03\x00\x00\x00cpuq\x04K\x0ctq\x05QK"
    )
)


# ------------------------------------------------------------------------------------------------------- tensors


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "dtype",
    [
        *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    ],
)
def test_every_dtype(dtype: str, protocol: int, legacy: bool) -> None:
    tensor = flambeau.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(flambeau, dtype))
    again = round_trip(tensor.t(), pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    assert again.dtype is tensor.dtype and again.stride() == (1, 3)
    assert again.tolist() == tensor.t().tolist()


def test_shared_storages_are_written_once_and_stay_shared() -> None:
    base = flambeau.arange(1000.0)
    buffer = io.BytesIO()
    save([base[10:], base.view(10, 100), base], buffer)
    assert len(buffer.getvalue()) < 1.5 * 4000
    buffer.seek(0)
    part, matrix, whole = load(buffer)
    whole.add_(1)
    assert part[0].item() == 11 and matrix[9, 99].item() == 1000


def test_a_view_keeps_its_whole_storage() -> None:
    again = round_trip(flambeau.arange(100)[40:42])
    assert again.storage_offset() == 40 and again.tolist() == [40, 41]


def test_one_storage_has_one_dtype() -> None:
    tensor = flambeau.ones(2)
    with pytest.raises(RuntimeError, match="view the same data as different types: one is FloatStorage, another IntStorage"):
        save([tensor, tensor.view(flambeau.int32)], io.BytesIO())


def test_requires_grad_is_kept_and_history_is_not() -> None:
    leaf = flambeau.ones(2, requires_grad=True)
    loaded_leaf, loaded_result = round_trip([leaf, leaf * 2])
    assert loaded_leaf.requires_grad and loaded_leaf.is_leaf
    assert loaded_result.requires_grad and loaded_result.is_leaf and loaded_result.tolist() == [2, 2]


def test_attributes_of_tensors_are_kept() -> None:
    tensor, parameter = flambeau.ones(2), nn.Parameter(flambeau.ones(2))
    tensor.note = parameter.note = ["kept"]
    for again in round_trip([tensor, parameter]):
        assert again.note == ["kept"]


def test_state_dicts_of_modules_and_optimizers() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    state = round_trip(model.state_dict())
    assert state._metadata == model.state_dict()._metadata
    for name, value in model.state_dict().items():
        assert state[name].tolist() == value.tolist()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = flambeau.ones_like(parameter)
    optimizer.step()
    assert str(round_trip(optimizer.state_dict())) == str(optimizer.state_dict())


def test_a_module_itself_under_pytorchs_names() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    buffer = io.BytesIO()
    save(model, buffer)
    assert b"ctorch.nn.modules.linear\nLinear\n" in buffer.getvalue() and b"flambeau" not in buffer.getvalue()
    buffer.seek(0)
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL torch\.nn\.modules\.\w+\.Sequential was not an allowed global"):
        load(buffer)
    buffer.seek(0)
    again = load(buffer, weights_only=False)
    assert isinstance(again[0], nn.Linear) and again[0].weight.tolist() == model[0].weight.tolist()


# --------------------------------------------------------------------------------------------------------- files


def test_a_path_and_the_folder_within(tmp_path: Path) -> None:
    path = tmp_path / "model.v2.pt"
    save({"a": flambeau.ones(3)}, path)
    assert b"model.v2/data.pkl" in path.read_bytes()
    assert load(path)["a"].tolist() == load(str(path))["a"].tolist() == [1, 1, 1]
    assert os.listdir(tmp_path) == ["model.v2.pt"]


def test_records_start_at_multiples_of_64_bytes(tmp_path: Path) -> None:
    path = tmp_path / "aligned.pt"
    save([flambeau.full((5,), 1.25), flambeau.full((7,), 2.5)], path)
    data = path.read_bytes()
    for value, count in ((1.25, 5), (2.5, 7)):
        content = flambeau.full((count,), value).numpy().tobytes()
        assert data.index(content) % 64 == 0


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save(flambeau.ones(2), path)

    class Broken:
        def __reduce__(self) -> Any:
            raise KeyError("no")

    for options in ({}, {"_use_new_zipfile_serialization": False}):
        with pytest.raises(KeyError):
            save([flambeau.zeros(2), Broken()], path, **options)
    assert load(path).tolist() == [1, 1] and os.listdir(tmp_path) == ["checkpoint.pt"]


def test_mapped_storages_are_private(tmp_path: Path) -> None:
    path = tmp_path / "mapped.pt"
    save({"a": flambeau.arange(1000.0), "empty": flambeau.ones(0)}, path)
    before = path.read_bytes()
    state = load(path, mmap=True)
    assert state["a"].sum().item() == 499500 and state["empty"].shape == (0,)
    state["a"].numpy()[0] = -1.0
    assert state["a"][0].item() == -1 and path.read_bytes() == before
    with pytest.raises(ValueError, match="f must be a file path"):
        load(io.BytesIO(before), mmap=True)
    save(flambeau.ones(1), path, _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="mmap can only be used with files saved with"):
        load(path, mmap=True)


def test_what_is_neither_path_nor_file() -> None:
    with pytest.raises(AttributeError, match="'write' attribute, but got int"):
        save(1, 3)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="'int' object has no attribute 'read'"):
        load(3)  # type: ignore[arg-type]


def test_a_file_that_is_read_piece_by_piece() -> None:
    class Slow(io.BytesIO):
        def readinto(self, target: Any) -> int:
            return super().readinto(memoryview(target)[:7])

    buffer = Slow()
    save(flambeau.arange(50), buffer)
    buffer.seek(0)
    assert load(buffer).tolist() == list(range(50))


# ------------------------------------------------------------------------------------------------------- devices


def moved_to_cuda(data: bytes) -> io.BytesIO:
    """The file as if its tensors had been saved from a GPU (the checksum of the pickle is set right)."""
    start = data.index(b"\x80\x02")
    changed = data.replace(b"X\x03\x00\x00\x00cpuq", b"X\x03\x00\x00\x00xpuq")
    end = data.index(b"PK\x07\x08")
    old, new = (zlib.crc32(content[start:end]).to_bytes(4, "little") for content in (data, changed))
    return io.BytesIO(changed.replace(old, new))


def test_map_location() -> None:
    buffer = io.BytesIO()
    save(flambeau.ones(2), buffer)
    file = moved_to_cuda(buffer.getvalue())
    with pytest.raises(RuntimeError, match="on device 'xpu', which is not available"):
        load(file)
    asked = []

    def keep(storage: Any, location: str) -> Any:
        asked.append((location, storage.nbytes(), storage.device.type))
        return storage

    for location in ("cpu", flambeau.device("cpu"), {"xpu": "cpu"}, keep):
        file.seek(0)
        assert load(file, map_location=location).tolist() == [1, 1]
    assert asked == [("xpu", 8, "cpu")]
    for location in ("cuda:0", {"other": "cpu"}, lambda storage, location: None):
        file.seek(0)
        with pytest.raises(RuntimeError, match="is not available"):
            load(file, map_location=location)


@pytest.mark.parametrize("weights_only", [True, False])
def test_the_meta_device_in_what_pytorch_wrote(weights_only: bool) -> None:
    state = load(io.BytesIO(unpacked(TORCH_META)), weights_only=weights_only, map_location="cpu")
    assert type(state["p"]) is nn.Parameter and state["p"].is_meta and state["p"].stride() == (1, 3) and state["p"].requires_grad
    assert state["x"].is_meta and state["x"].dtype is flambeau.uint16 and state["c"].tolist() == [1, 1]


@pytest.mark.parametrize("legacy", [False, True])
def test_the_meta_device(legacy: bool) -> None:
    """Meta tensors stay what they are, in PyTorch's words, and others come there without their elements."""
    buffer = io.BytesIO()
    matrix = flambeau.arange(6.0).reshape(2, 3)
    state = {"meta": flambeau.empty(2, 3, device="meta").t(), "view": matrix[1], "matrix": matrix}
    save(state, buffer, _use_new_zipfile_serialization=not legacy)
    assert b"torch._utils\n_rebuild_meta_tensor_no_storage\n" in buffer.getvalue()
    buffer.seek(0)
    found = load(buffer)
    assert found["meta"].is_meta and found["meta"].stride() == (1, 3) and found["matrix"].tolist() == [[0, 1, 2], [3, 4, 5]]
    for location in ("meta", flambeau.device("meta"), {"cpu": "meta"}):
        buffer.seek(0)
        found = load(buffer, map_location=location)
        assert all(each.is_meta for each in found.values()) and found["matrix"].untyped_storage().nbytes() == 24
        assert found["view"].storage_offset() == 3 and found["view"].untyped_storage() == found["matrix"].untyped_storage()


# -------------------------------------------------------------------------------------------- what may be loaded


def test_other_classes_must_be_allowed() -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"Weights only load failed.*add_safe_globals\(\[fractions.Fraction\]\)"):
        round_trip(Fraction(1, 2))
    with safe_globals([Fraction]):
        assert round_trip(Fraction(1, 2)) == Fraction(1, 2)
    assert round_trip(Fraction(1, 2), weights_only=False) == Fraction(1, 2)


def test_a_pickle_module_turns_weights_only_off() -> None:
    buffer = io.BytesIO()
    save(Fraction(1, 2), buffer)
    buffer.seek(0)
    assert load(buffer, pickle_module=pickle) == Fraction(1, 2)
    with pytest.raises(RuntimeError, match="explicit pickle_module"):
        load(buffer, pickle_module=pickle, weights_only=True)


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(pickle.UnpicklingError):
        round_trip(Fraction(1, 2), weights_only=False)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "yes")
    with pytest.raises(RuntimeError, match="both are"):
        round_trip(1)
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    with pytest.warns(UserWarning, match="loading with weights_only=False"):
        assert round_trip(Fraction(1, 2)) == Fraction(1, 2)


# ------------------------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_is_cut_off(legacy: bool) -> None:
    buffer = io.BytesIO()
    save({"a": flambeau.arange(5), "b": [1.5, "text"]}, buffer, _use_new_zipfile_serialization=not legacy)
    data = buffer.getvalue()
    for length in range(1, len(data)):
        with pytest.raises((RuntimeError, pickle.UnpicklingError)):
            load(io.BytesIO(data[:length]))
    with pytest.raises(EOFError, match="the file is empty"):
        load(io.BytesIO())


def test_flipped_bits_of_data_are_noticed() -> None:
    buffer = io.BytesIO()
    save(flambeau.arange(5), buffer)
    data = bytearray(buffer.getvalue())
    data[data.index(flambeau.arange(5).numpy().tobytes()) + 8] ^= 1
    with pytest.raises(RuntimeError, match="record data/0 of this archive has the wrong checksum"):
        load(io.BytesIO(data))


def test_layouts_and_byte_orders_that_there_are_not() -> None:
    buffer = io.BytesIO()
    save(flambeau.eye(3).to_sparse(), buffer, _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="there is no layout 'torch.sparse_cow'"):
        load(io.BytesIO(buffer.getvalue().replace(b"torch.sparse_coo", b"torch.sparse_cow")))
    buffer = io.BytesIO()
    save(flambeau.ones(2), buffer)
    changed = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(changed, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, b"litt\xe9e" if info.filename.endswith("byteorder") else old.read(info))
    changed.seek(0)
    with pytest.raises(ValueError, match="Unknown endianness type: litt"):
        load(changed)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", [b")" + b"\x85" * 1_000_000, b")" + b"2\x86" * 60, b"]", b"N"], ids=["deep", "wide", "list", "none"])
def test_storages_are_named_by_text(key: bytes, legacy: bool) -> None:
    """Nothing else is looked up, or written down in the error."""
    end = b"X\x03\x00\x00\x00cpuK\x01" + (b"N" if legacy else b"") + b"tQ."
    program = b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + key + end
    buffer = io.BytesIO()
    if legacy:
        for part in (0x1950A86A20F9469CFC6C, 1001, {}):
            pickle.dump(part, buffer, 2)
        buffer.write(program)
    else:
        writer = ArchiveWriter(buffer, "archive")
        writer.write("data.pkl", program)
        writer.write("data/0", bytes(4))
        writer.close()
    buffer.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="Unknown saved id") as raised:
        flambeau.load(buffer)
    assert len(str(raised.value)) < 500


def test_files_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        load(io.BytesIO(b"\x89PNG\r\n"))
    with pytest.raises(RuntimeError, match="Invalid magic number"):
        load(io.BytesIO(pickle.dumps(12, protocol=2)))
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.pt")


def test_permissions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "private.pt"
    save(1, path)
    path.chmod(0o600)
    save(2, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and load(path) == 2


def names_in(buffer: io.BytesIO) -> list[str]:
    return flambeau.serialization.get_unsafe_globals_in_checkpoint(buffer)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_whole_module_names_its_classes_only(protocol: int) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    buffer = io.BytesIO()
    save({"net": net, "epoch": 3}, buffer, pickle_protocol=protocol)
    classes = [nn.Sequential, nn.Linear, nn.BatchNorm1d]
    assert names_in(buffer) == [f"{each.__module__.replace('flambeau', 'torch')}.{each.__name__}" for each in classes]
    buffer.seek(0)
    with safe_globals(classes):
        assert names_in(buffer) == []
        buffer.seek(0)
        loaded = load(buffer)["net"]
    assert loaded[0].weight is loaded[0]._parameters["weight"] and flambeau.equal(loaded[0].weight, net[0].weight)


def test_what_a_file_names_is_told_without_building_it() -> None:
    buffer = io.BytesIO()
    save([Fraction(1, 2), os.path.join, flambeau.ones(2)], buffer)
    assert names_in(buffer) == ["fractions.Fraction", "posixpath.join"]
    with pytest.raises(ValueError, match="present format"):
        names_in(io.BytesIO(pickle.dumps(1)))


def test_data_is_skipped() -> None:
    whole, empty = io.BytesIO(), io.BytesIO()
    state = {"weight": flambeau.arange(1.0, 1000), "bias": flambeau.ones(3)}
    save(state, whole)
    with flambeau.serialization.skip_data():
        save(state, empty)
        whole.seek(0)
        assert {name: value.shape for name, value in load(whole).items()} == {"weight": (999,), "bias": (3,)}
    assert len(empty.getvalue()) == len(whole.getvalue())
    empty.seek(0)
    assert not any(value.any() for value in load(empty).values())
    whole.seek(0)
    assert flambeau.equal(load(whole)["weight"], state["weight"])
