// Vectors of floats as wide as the instruction set has them, and the functions the kernels need on them.
// Shapes: `lanes` floats.
// Source: compilers' vector extensions; exp after Cephes' expf, erf by the rational approximation that Eigen uses.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS::vector {

inline constexpr int lanes = STRATA_VECTOR_BYTES / static_cast<int>(sizeof(float));
using floats = float __attribute__((vector_size(STRATA_VECTOR_BYTES)));
using ints = int __attribute__((vector_size(STRATA_VECTOR_BYTES)));
// The attributes come before the "=": after it clang 14 silently ignores aligned(4).
using unaligned_floats __attribute__((aligned(4), may_alias)) = floats;

STRATA_ALWAYS_INLINE floats load(const float* from) { return *reinterpret_cast<const unaligned_floats*>(from); }
STRATA_ALWAYS_INLINE void store(float* to, floats x) { *reinterpret_cast<unaligned_floats*>(to) = x; }
/// Loads narrow weights as floats. g++'s own conversion of vectors is slow.
STRATA_ALWAYS_INLINE floats load(const bfloat16* from) {
#if defined(__x86_64__) && STRATA_VECTOR_BYTES == 64
  const __m256i narrow = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return reinterpret_cast<floats>(_mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, narrow), 16));
#elif defined(__x86_64__) && STRATA_VECTOR_BYTES == 32
  const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return reinterpret_cast<floats>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(narrow), 16));
#else
  floats x;
  for (int lane = 0; lane < lanes; ++lane) x[lane] = to_float(from[lane]);
  return x;
#endif
}
STRATA_ALWAYS_INLINE floats load(const std::int8_t* from) {
#if defined(__x86_64__) && STRATA_VECTOR_BYTES == 64
  const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, narrow));
#elif defined(__x86_64__) && STRATA_VECTOR_BYTES == 32
  const __m128i narrow = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(narrow));
#else
  floats x;
  for (int lane = 0; lane < lanes; ++lane) x[lane] = static_cast<float>(from[lane]);
  return x;
#endif
}
/// Loads the first `count` lanes; the others are 0.
template <class T>
STRATA_ALWAYS_INLINE floats load_part(const T* from, index_type count) {
  T x[lanes]{};
  std::memcpy(x, from, static_cast<std::size_t>(count) * sizeof(T));
  return load(x);
}
STRATA_ALWAYS_INLINE void store_part(float* to, floats x, index_type count) {
  std::memcpy(to, &x, static_cast<std::size_t>(count) * sizeof(float));
}
STRATA_ALWAYS_INLINE floats all(float x) { return x - floats{}; }
STRATA_ALWAYS_INLINE floats max(floats x, floats y) { return x > y ? x : y; }
STRATA_ALWAYS_INLINE floats min(floats x, floats y) { return x < y ? x : y; }
/// The compilers' own square root of vectors is unusable where it must set errno.
STRATA_ALWAYS_INLINE floats sqrt(floats x) {
#if defined(__x86_64__) && STRATA_VECTOR_BYTES == 64
  return _mm512_maskz_sqrt_ps(0xffff, x);  // g++ 12 warns about the plain one
#elif defined(__x86_64__) && STRATA_VECTOR_BYTES == 32
  return _mm256_sqrt_ps(x);
#elif defined(__x86_64__)
  return _mm_sqrt_ps(x);
#else
  for (int lane = 0; lane < lanes; ++lane) x[lane] = std::sqrt(x[lane]);
  return x;
#endif
}
STRATA_ALWAYS_INLINE ints count_up() {
  ints x{};
  for (int lane = 0; lane < lanes; ++lane) x[lane] = lane;
  return x;
}
STRATA_ALWAYS_INLINE float sum(floats x) {
  float total[lanes];
  std::memcpy(total, &x, sizeof x);
  for (int width = lanes / 2; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane) total[lane] += total[lane + width];
  return total[0];
}
STRATA_ALWAYS_INLINE float largest(floats x) {
  float most[lanes];
  std::memcpy(most, &x, sizeof x);
  for (int width = lanes / 2; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane)
      most[lane] = most[lane] > most[lane + width] ? most[lane] : most[lane + width];
  return most[0];
}
/// Keeps a value in a register: GCC would otherwise load it again for every use.
STRATA_ALWAYS_INLINE void pin([[maybe_unused]] floats& x) {
#if STRATA_VECTOR_BYTES == 64
  asm("" : "+v"(x));
#elif defined(__x86_64__)
  asm("" : "+x"(x));
#endif
}

/// Rounds to the nearest bfloat16, ties to even; NaN stays NaN.
STRATA_ALWAYS_INLINE floats nearest_bfloat16(floats x) {
  unsigned __attribute__((vector_size(STRATA_VECTOR_BYTES))) bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
  floats rounded;
  std::memcpy(&rounded, &bits, sizeof rounded);
  return x == x ? rounded : x;
}

template <int Step, int... Lane>
STRATA_ALWAYS_INLINE void exchange(floats& upper, floats& lower, std::integer_sequence<int, Lane...>) {
  const floats x = upper, y = lower;
  upper = __builtin_shufflevector(x, y, ((Lane & Step) == 0 ? Lane : lanes + Lane - Step)...);
  lower = __builtin_shufflevector(x, y, ((Lane & Step) == 0 ? Lane + Step : lanes + Lane)...);
}
/// Transposes `lanes` rows: first inside pairs of rows, then between pairs, and so on.
template <int Step = 1>
STRATA_ALWAYS_INLINE void transpose(floats (&rows)[lanes]) {
  STRATA_UNROLL
  for (int i = 0; i < lanes; ++i)
    if ((i & Step) == 0) exchange<Step>(rows[i], rows[i + Step], std::make_integer_sequence<int, lanes>());
  if constexpr (2 * Step < lanes) transpose<2 * Step>(rows);
}

/// e^x to about 2 units in the last place; 0 below -87, e^88 above 88.
STRATA_ALWAYS_INLINE floats exp(floats x) {
  constexpr float log2_e = 1.44269504f, round_to_whole = 12582912.f;  // 1.5 * 2^23
  // In this order NaN stays NaN.
  const floats clamped = min(all(88.f), max(all(-87.f), x));
  const floats shifted = clamped * log2_e + round_to_whole;
  ints exponent;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  const floats whole = shifted - round_to_whole;
  const floats f = clamped - whole * 0.693359375f + whole * 2.12194440e-4f;
  floats p = f * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  p = p * f * f + f + 1.f;
  ints bits;
  std::memcpy(&bits, &p, sizeof bits);
  bits += exponent << 23;
  floats result;
  std::memcpy(&result, &bits, sizeof result);
  return x < -87.f ? floats{} : result;
}

/// log(1 + x) for x in 0 .. 1, to about 1 unit in the last place: 2 artanh(x / (2 + x)) by its series.
STRATA_ALWAYS_INLINE floats log1p(floats x) {
  const floats r = x / (x + 2.f), s = r * r;
  floats p = s * (2.f / 15) + 2.f / 13;
  for (int odd = 11; odd > 0; odd -= 2) p = p * s + 2.f / static_cast<float>(odd);
  return r * p;
}

STRATA_ALWAYS_INLINE floats erf(floats x) {
  x = max(min(x, all(4.f)), all(-4.f));
  const floats z = x * x;
  floats p = z * -2.72614225801306e-10f + 2.77068142495902e-08f;
  p = p * z + -2.10102402082508e-06f;
  p = p * z + -5.69250639462346e-05f;
  p = p * z + -7.34990630326855e-04f;
  p = p * z + -2.95459980854025e-03f;
  p = p * z + -1.60960333262415e-02f;
  floats q = z * -1.45660718464996e-05f + -2.13374055278905e-04f;
  q = q * z + -1.68282697438203e-03f;
  q = q * z + -7.37332916720468e-03f;
  q = q * z + -1.42647390514189e-02f;
  return p * x / q;
}

/// Passed to the body of `for_each`. Not lambdas: g++ compiles their conversion to a pointer without the target's
/// instructions.
struct load_whole {
  template <class T>
  STRATA_ALWAYS_INLINE floats operator()(const T* from) const {
    return load(from);
  }
};
struct store_whole {
  STRATA_ALWAYS_INLINE void operator()(float* to, floats x) const { store(to, x); }
};
struct load_first {
  index_type count;
  template <class T>
  STRATA_ALWAYS_INLINE floats operator()(const T* from) const {
    return load_part(from, count);
  }
};
struct store_first {
  index_type count;
  STRATA_ALWAYS_INLINE void operator()(float* to, floats x) const { store_part(to, x, count); }
};

/// Calls `body(offset, load, store)` over [0, count): whole vectors first, then one part.
template <class Body>
STRATA_ALWAYS_INLINE void for_each(index_type count, Body body) {
  index_type n = 0;
  for (; n + lanes <= count; n += lanes) body(n, load_whole{}, store_whole{});
  if (const index_type rest = count - n; rest > 0) body(n, load_first{rest}, store_first{rest});
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS::vector
