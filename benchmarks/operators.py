"""How each public operator is called: one line for many, in a small notation that `benchmarks/sweep.py` reads.

`abs neg exp <- x` calls each of the functions with those arguments; entries are separated by `;` or the end of a line, and one without
an arrow is an expression. Names are the package's (`exp`, `F.gelu`, `linalg.inv`, …) or those of the inputs, made for a size of
`side` (32, 256 or 1024):

    x y z           matrices of side × side, normally distributed; w is one that is written in place
    p o u q         matrices of positive numbers, of numbers above one, between -0.9 and 0.9, and between 0.05 and 0.95
    v               the numbers of x as one line
    k l             matrices of integers from 1 to 100
    m n             masks
    i j e           indices below side: a matrix, and two lines of side numbers, of which j is increasing
    s b r           a symmetric positive definite matrix, many small ones (4 × 4), and right sides for s
    c d             complex matrices
    f               images (batch, 8, height, width) of side × side numbers in all
    N               side
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Calls of one kind, and in which other ways than contiguous float32 they are timed: `strided`, or the names of dtypes."""

    calls: str
    variants: tuple[str, ...] = ()

    def entries(self) -> list[str]:
        """The calls as Python expressions."""
        found = []
        for entry in self.calls.replace("\n", ";").split(";"):
            functions, arrow, arguments = entry.partition("<-")
            if arrow:
                found += [f"{function}({arguments.strip()})" for function in functions.split()]
            elif entry.strip():
                found.append(entry.strip())
        return found


GROUPS = {
    "common": Group(
        """
        abs neg exp sin cos tanh sigmoid square erf relu F.gelu F.silu floor round sign isnan isfinite clone <- x
        log sqrt rsqrt reciprocal <- p
        x + y; x - y; x * y; x / p; x + 1; x * 0.5; 1 - x; x ** 2; x ** 3; x ** 0.5
        maximum minimum eq lt hypot atan2 <- x, y
        pow(p, u); remainder(x, p); fmod(x, p); floor_divide(x, p); where(m, x, y); masked_fill(x, m, 0.5); clamp(x, -1, 1); lerp(x, y, 0.3)
        addcmul(x, y, z, value=0.5); addcdiv(x, y, p, value=0.5); F.softplus(x); x == 0; x > y
        w.add_(1); w.mul_(1.0); w.zero_(); w.fill_(2); w.copy_(x); w.clamp_(-1, 1)
        """,
        ("strided", "float64", "bfloat16"),
    ),
    "elementwise": Group(
        """
        acos asin atanh logit erfinv <- u
        asinh atan cosh sinh tan exp2 expm1 erfc ceil trunc frac deg2rad rad2deg sgn signbit sinc isinf isposinf isneginf logical_not nan_to_num <- x
        isreal positive angle conj_physical <- x
        acosh <- o; log10 log2 log1p digamma lgamma i0 <- p; mvlgamma(o + 2, 3); polygamma(1, p); polygamma(2, p)
        fmax fmin logaddexp logaddexp2 nextafter copysign heaviside not_equal ge le logical_and logical_or logical_xor isclose float_power <- x, y
        xlogy(x, p); ldexp(x, k); frexp(x); div(x, p, rounding_mode="trunc"); div(x, p, rounding_mode="floor"); round(x, decimals=2)
        pow(2, x); pow(p, 2.5); pow(p, -1); x ** -2; rsub(x, 1); add(x, y, alpha=2); igamma(p, o); igammac(p, o); clamp(x, min=u); x % 2; x // 2
        w.exp_(); w.sub_(x); w.div_(2); w.neg_(); w.relu_(); w.tanh_(); w.masked_fill_(m, 0.0); w.lerp_(x, 0.1); w.addcmul_(x, y); w.abs_().sqrt_()
        allclose(x, x); equal(x, x)
        """,
        ("strided",),
    ),
    "activation": Group(
        """
        F.celu F.elu F.hardshrink F.hardsigmoid F.hardswish F.hardtanh F.leaky_relu F.logsigmoid F.mish F.relu6 F.selu F.softshrink F.softsign <- x
        F.tanhshrink <- x; F.gelu(x, approximate="tanh"); F.threshold(x, 0.1, 0.5); F.prelu(x, u[0]); F.glu(x); F.rrelu(x, training=False)
        """,
        ("strided", "bfloat16"),
    ),
    "special": Group(
        """
        special.entr special.i0e special.i1 special.i1e special.log_ndtr special.ndtr special.erfcx special.bessel_j0 special.bessel_j1 <- x
        special.airy_ai special.spherical_bessel_j0 special.modified_bessel_i0 special.modified_bessel_i1 <- x
        special.bessel_y0 special.bessel_y1 special.modified_bessel_k0 special.modified_bessel_k1 special.scaled_modified_bessel_k0 <- p
        special.ndtri <- q; special.xlog1py(x, p); special.zeta(o, p)
        special.chebyshev_polynomial_t special.hermite_polynomial_h special.laguerre_polynomial_l special.legendre_polynomial_p <- u, 5
        """
    ),
    "integers": Group(
        """
        k + l; k - l; k * l; k // l; k % l; k / l; k // 7; k % 7; k ** 2; abs neg sign square bitwise_not <- k
        bitwise_and bitwise_or bitwise_xor gcd lcm maximum minimum eq lt fmod remainder <- k, l; k << 2; k >> 2; clamp(k, 10, 50); where(m, k, l)
        div(k, l, rounding_mode="trunc"); k.sum(); k.sum(0); k.sum(1); k.max(); k.argmax(1); k.cumsum(1); k.prod(1); k.float(); k.to(torch.int32); k.bool()
        (k > 50).sum(); k.float().mean(); k == l
        """,
        ("strided",),
    ),
    "bool": Group(
        "m & n; m | n; m ^ n; ~m; m.any(); m.all(); m.any(0); m.all(1); m.sum(); m.sum(0); m.float(); m.long(); m.nonzero(); count_nonzero(m)"
    ),
    "complex": Group(
        """
        c + d; c - d; c * d; c / d; c * 2; abs angle exp log sqrt sin cos tanh reciprocal square sgn conj_physical neg <- c; c ** 2; c ** d
        c.real; c.imag.clone(); view_as_real(c).clone(); complex(x, y); polar(p, x); c.sum(); c.mean(1); c.abs().sum(); c.cumsum(1); c == d
        """,
        ("strided",),
    ),
    "conversions": Group(
        """
        x.double(); x.half(); x.bfloat16(); x.int(); x.long(); x.bool(); x.to(torch.uint8); x.half().float(); x.bfloat16().float(); x.double().float()
        x.to(torch.int8); x.to(torch.complex64); x.t().contiguous(); x.clone(); k.to(torch.float64); k.to(torch.bfloat16); k.byte()
        """,
        ("strided",),
    ),
    "reductions": Group(
        """
        x.sum(); x.sum(0); x.sum(1); x.mean(); x.mean(0); x.mean(1); x.max(); x.min(); x.amax(0); x.amax(1); x.max(0); x.max(1); x.min(1)
        x.argmax(); x.argmax(0); x.argmax(1); x.argmin(1); x.prod(); u.prod(1); u.prod(0); x.var(); x.var(0); x.var(1); x.std(); x.std(0); x.std(1)
        x.norm(); x.norm(dim=0); x.norm(dim=1); x.norm(p=1); x.norm(p=inf, dim=1); x.norm(p=3); x.logsumexp(0); x.logsumexp(1)
        softmax(x, 0); softmax(x, 1); log_softmax(x, 0); log_softmax(x, 1); F.softmin(x, 1); x.cumsum(0); x.cumsum(1)
        """,
        ("strided", "float64", "bfloat16"),
    ),
    "statistics": Group(
        """
        var_mean(x, 1); std_mean(x, 0); aminmax(x); aminmax(x, dim=1); x.nansum(1); x.nanmean(1); x.any(); x.all(1); x.count_nonzero(0); x.dist(y)
        x.median(); x.median(1); x.nanmedian(1); x.mode(1); x.quantile(0.3, dim=1); x.kthvalue(3, 1); x.topk(5, 1); x.topk(5, 0); x.sort(1); x.sort(0)
        v.sort(); x.argsort(1); msort(x); k.sort(1); v[:100000].nanquantile(0.4); v.median(); v.topk(10); v.histc(50); histogram(v, 20)
        cumprod cumsum cummax cummin logcumsumexp <- u, 1
        cumprod cumsum cummax cummin logcumsumexp <- u, 0
        v.cumsum(0); v.cumprod(0); v.cummax(0)
        bincount(k.flatten()); bincount(k.flatten(), v); cov(x[:64]); corrcoef(x[:64]); trapezoid(x); cumulative_trapezoid(x); diff(x); diff(x, 2, 0)
        gradient(x); x.renorm(2, 0, 1.0); cdist(x[:, :16], y[:, :16]); cdist(x, y, p=1.0) if N < 999 else cdist(x[:99], y[:99], p=1.0); F.pdist(x[:128])
        linalg.vector_norm(x, 3, 1); linalg.matrix_norm(x); F.normalize(x); F.cosine_similarity(x, y); F.pairwise_distance(x, y)
        """,
        ("strided",),
    ),
    "rearranging": Group(
        """
        cat([x, y]); cat([x, y], 1); stack([x, y]); stack([x, y], 2); hstack vstack dstack column_stack <- [x, y]; x.repeat(2, 2); tile(x, (1, 3))
        flip(x, (0,)); flip(x, (1,)); flip(x, (0, 1)); fliplr(x); flipud(x); rot90(x); roll(x, 3); roll(x, 3, 0); roll(x, (1, 2), (0, 1))
        tril(x); triu(x, 1); diag(x).clone(); diag(v[:N]); diag_embed(x[:4]); trace(x); x.t().clone(); x.t().reshape(-1); x[:, ::2].clone()
        kron(x[:8], y[:8, :N // 8]); outer(v[:N], v[:N]); block_diag(x, y); x.expand(2, N, N).clone(); cartesian_prod(v[:N], v[:N]); meshgrid(v[:N], v[:N])
        combinations(v[:N], 2); cross(v[:N * N // 3 * 3].view(-1, 3), v[:N * N // 3 * 3].view(-1, 3)); x.view(N // 4, 4, N).permute(2, 0, 1).contiguous()
        F.pad(x, (1, 2, 1, 2)); constant_pad_nd(x, (1, 2), 3.0); x.unfold(1, 4, 2).clone(); F.one_hot(e, N); vander(v[:N], 8); x.split(8)[1] + 1
        repeat_interleave(x, 2); repeat_interleave(x, 2, 1); repeat_interleave(x, k[0] % 4, 0); tril_indices(N, N); triu_indices(N, N); torch.unbind(x)[0] + 1
        F.channel_shuffle(f, 4); F.pixel_shuffle(f, 2); F.pixel_unshuffle(f, 2)
        """,
        ("strided",),
    ),
    "indexing": Group(
        """
        gather(x, 0, i); gather(x, 1, i); index_select(x, 0, e); index_select(x, 1, e); take(x, i); take_along_dim(x, i, 1); x[e]; x[:, e]; x[e, j]; x[m]
        masked_select(x, m); nonzero(m); argwhere(m); masked_scatter(x, m, y); scatter(x, 0, i, y); scatter(x, 1, i, y); scatter(x, 1, i, 2.0)
        scatter_add(x, 0, i, y); scatter_add(x, 1, i, y); index_add(x, 0, e, y); index_add(x, 1, e, y); index_copy(x, 0, e, y); index_fill(x, 0, e, 1.0)
        index_put(x, (e,), y); index_put(x, (e, j), y[0], accumulate=True); put(x, e, y[0]); scatter_reduce(x, 1, i, y, "amax"); scatter_reduce(x, 0, i, y, "mean")
        index_reduce(x, 0, e, y, "mean"); select_scatter(x, y[0], 0, 1); slice_scatter(x, y[:4], 0, 1, 5); diagonal_scatter(x, y[0]); F.embedding(i, x[:, :32])
        F.embedding_bag(i[:, :8], x[:, :32]); F.embedding_bag(i.flatten(), x[:, :32], j); x[1:, 1:] + 1; x[0] + 1; searchsorted(j, i); bucketize(x, v[:64].sort()[0])
        isin(k, l[0]); unique(k); unique(k, return_inverse=True, return_counts=True); unique_consecutive(k); unique(v); unravel_index(i, (N, N))
        w[m] = 0.0; w[e] = 1.0; w[:, 1] = 2.0; w[1:] = x[1:]; w.index_add_(0, e, y); w.scatter_(1, i, y); w.index_fill_(0, e, 1.0); x[None, 0, :, None] + 1
        """,
        ("strided",),
    ),
    "losses": Group(
        """
        F.mse_loss F.l1_loss F.smooth_l1_loss F.huber_loss F.soft_margin_loss F.hinge_embedding_loss <- x, y
        F.cross_entropy(x, e); F.cross_entropy(x, e, label_smoothing=0.1); F.cross_entropy(x, softmax(y, 1)); F.nll_loss(x, e); F.binary_cross_entropy(q, q.flip(0))
        F.binary_cross_entropy_with_logits(x, q); F.kl_div(x, q); F.gaussian_nll_loss(x, y, p); F.poisson_nll_loss(x, p); F.margin_ranking_loss(v, v + 1, v.sign())
        F.cosine_embedding_loss(x, y, (e % 2) * 2 - 1); F.triplet_margin_loss(x, y, z); F.multi_margin_loss(x, e); F.multilabel_soft_margin_loss(x, m.float())
        F.multilabel_margin_loss(x, i)
        """
    ),
    "creation": Group(
        """
        zeros(N, N); ones(N, N); full((N, N), 2.5); eye(N); arange(N * N); arange(0, 1, 1 / N); linspace(0, 1, N * N); logspace(0, 1, N * N); empty(N, N)
        zeros_like ones_like empty_like <- x; full_like(x, 3); x.new_zeros(N, N); tensor(1.5); hann_window(N * N); hamming_window(N); torch.zeros(10)
        """
    ),
    "random": Group(
        """
        rand(N, N); randn(N, N); randint(0, 100, (N, N)); randperm(N * N); rand_like(x); randn_like(x); bernoulli(q); multinomial(q[0], 8); multinomial(q, 4, True)
        normal(x, p); poisson(p); w.normal_(); w.uniform_(); w.exponential_(); w.bernoulli_(0.3); w.log_normal_(); w.cauchy_(); w.geometric_(0.3); w.random_(100)
        F.dropout(x, 0.3); F.alpha_dropout(x, 0.3); F.gumbel_softmax(x); rand(10); randn(10); randint(10, (10,)); randperm(10); torch._standard_gamma(p); binomial(k.float(), q)
        """
    ),
    "linear algebra": Group(
        """
        x @ y; x @ v[:N]; x.t() @ y; x @ y.t(); mv(x, v[:N]); dot(v, v); addmm(z, x, y); F.linear(x, y, v[:N]); bmm(f[:, :, :4, :4].reshape(-1, 4, 4), b[:1].expand(f.shape[0] * 8, 4, 4))
        einsum("ij,kj->ik", x, y); tensordot(x, y, 1); inner(x, y); addmv(v[:N], x, v[:N]); addr(x, v[:N], v[:N]); vdot(v, v); baddbmm(b, b, b); matrix_power(s, 3); chain_matmul(s, s)
        linalg.inv linalg.det linalg.slogdet linalg.cholesky linalg.qr linalg.svdvals linalg.eigvalsh linalg.eigh linalg.pinv linalg.lu_factor linalg.matrix_exp linalg.svd <- s
        linalg.inv linalg.det linalg.cholesky linalg.qr linalg.svdvals linalg.eigh <- b; linalg.eig(s); linalg.solve(s, r); linalg.lstsq(s, r); linalg.cond(s)
        linalg.solve_triangular(s, r, upper=True); cholesky_solve(r, s); linalg.matrix_rank(s); linalg.norm(s); linalg.multi_dot([s, s, r]); linalg.vecdot(x, y); linalg.solve(b, b)
        """
    ),
    "fft": Group(
        """
        fft.fft fft.ifft fft.rfft fft.hfft fft.fft2 fft.rfft2 fft.fftshift <- x; fft.fft fft.ifft fft.fftn fft.irfft <- c; fft.fft(v); fft.rfft(v)
        stft(v[:N * 16], 64, window=hann_window(64), return_complex=True); fft.fft(x, dim=0); fft.fft(x, n=N - 1)
        """
    ),
    "images": Group(
        """
        F.max_pool2d(f, 2); F.avg_pool2d(f, 3, 1, 1); F.adaptive_avg_pool2d(f, 2); F.adaptive_max_pool2d(f, 2); F.pad(f, (1, 1, 1, 1), "reflect")
        F.interpolate(f, scale_factor=2.0); F.interpolate(f, scale_factor=2.0, mode="bilinear"); F.batch_norm(f, None, None, training=True); F.group_norm(f, 4)
        F.layer_norm(x, (N,)); F.layer_norm(x, (N,), v[:N], v[:N]); F.instance_norm(f); F.rms_norm(x, (N,)); F.local_response_norm(f, 2); F.unfold(f, 3)
        F.conv2d(f, x[:8, :8, None, None].expand(8, 8, 3, 3)); F.conv1d(f[:, :, 0], x[:8, :8, None]); F.lp_pool2d(f, 2.0, 2)
        F.scaled_dot_product_attention(x.view(1, 4, N, -1), y.view(1, 4, N, -1), z.view(1, 4, N, -1))
        """
    ),
}
