// Operations that only move memory, or nearly so, read and write each tensor once, 16 bytes at a time. Smaller accesses
// do not count.
#include <array>
#include <deque>
#include <vector>

#include <strata/cuda.hpp>

#include "cuda_on_cpu/scheduler.hpp"
#include "support/catch.hpp"

namespace strata {
namespace {

constexpr index_type B = 2, n = 24, D = 72, R = B * n;

struct bench {
  cuda backend;
  std::deque<device_buffer<float>> memory;

  explicit bench(cuda_precision precision = cuda_precision::float32) : backend({.precision = precision}) {}

  template <int Rank>
  view<float, Rank> make(std::array<index_type, Rank> shape) {
    index_type count = 1;
    for (const index_type extent : shape) count *= extent;
    device_buffer<float>& made = memory.emplace_back(count);
    fill(backend, 0.5f, made.view());
    return {made.data(), shape};
  }
  view<float, 3> rows(index_type length = n, index_type width = D) { return make<3>({B, length, width}); }
  view<float, 1> vector(index_type size = D) { return make<1>({size}); }

  /// How often `operation` reads or writes all of x in pieces of 16 bytes.
  template <class T, int Rank, class Operation>
  double passes(const view<T, Rank>& x, Operation operation) {
    backend.synchronize();
    cuda_on_cpu::watch_wide_accesses(x.data, static_cast<std::size_t>(x.size()) * sizeof(T));
    operation();
    backend.synchronize();
    const std::size_t accesses = cuda_on_cpu::wide_accesses();
    cuda_on_cpu::watch_wide_accesses(nullptr, 0);
    return 16.0 * static_cast<double>(accesses) / static_cast<double>(sizeof(T) * static_cast<std::size_t>(x.size()));
  }
};

// A gradient that is added to is read and written.
constexpr double once = 1, read_and_written = 2;

}  // namespace

TEST_CASE("norms read and write their rows once, 16 bytes at a time") {
  bench own;
  cuda& b = own.backend;
  const auto x = own.rows(), y = own.rows(), dx = own.rows();
  const auto gain = own.vector(), bias = own.vector(), factor = own.vector(R), mean = own.vector(R);
  const auto rms = [&] { rms_norm(b, x, gain, 0, y, factor); };
  const auto layer = [&] { layer_norm(b, x, gain, bias, 0, y, factor, mean); };
  const auto rms_backward = [&] { rms_norm_backward(b, x, gain, 0, factor, y, dx, gain); };
  const auto layer_backward = [&] { layer_norm_backward(b, x, gain, 0, factor, mean, y, dx, gain, bias); };
  CHECK(own.passes(x, rms) == once);
  CHECK(own.passes(y, rms) == once);
  CHECK(own.passes(x, layer) == once);
  CHECK(own.passes(y, layer) == once);
  CHECK(own.passes(x, rms_backward) == once);
  CHECK(own.passes(y, rms_backward) == once);
  CHECK(own.passes(dx, rms_backward) == read_and_written);
  CHECK(own.passes(x, layer_backward) == once);
  CHECK(own.passes(y, layer_backward) == once);
  CHECK(own.passes(dx, layer_backward) == read_and_written);
}

TEST_CASE("the token shift reads and writes its rows once, 16 bytes at a time") {
  bench own;
  cuda& b = own.backend;
  const auto x = own.rows(), y = own.rows(), dx = own.rows();
  const auto gain = own.vector(), factor = own.vector(R);
  // Half of the channels of each text's last position are not seen.
  const double seen = 1 - 0.5 / n;
  CHECK(own.passes(x, [&] { rms_norm(b, x, gain, 1, y, factor); }) == Approx(seen));
  const auto backward = [&] { rms_norm_backward(b, x, gain, 1, factor, y, dx, gain); };
  CHECK(own.passes(x, backward) == Approx(seen));
  CHECK(own.passes(dx, backward) == Approx(2 * seen));
  const auto step = [&] { shift_step(b, x.rows(), y.rows(), dx.rows()); };
  CHECK(own.passes(x, step) == once);
  CHECK(own.passes(y, step) == read_and_written);
  CHECK(own.passes(dx, step) == once);
}

TEST_CASE("softmax and cross-entropy read and write logits once, 16 bytes at a time") {
  bench own;
  cuda& b = own.backend;
  device_buffer<token> targets(R);
  const auto loss = own.vector(1);
  for (const index_type vocabulary : {256, 1024}) {
    CAPTURE(vocabulary);
    const auto logits = own.make<2>({R, vocabulary}), gradient = own.make<2>({R, vocabulary});
    const auto apart = [&] { cross_entropy(b, logits, targets.view(), -1, 1.f, loss, gradient); };
    CHECK(own.passes(logits, apart) == once);
    CHECK(own.passes(gradient, apart) == once);
    const auto in_place = [&] { cross_entropy(b, logits, targets.view(), -1, 1.f, loss, logits); };
    CHECK(own.passes(logits, in_place) == read_and_written);
  }
}

TEST_CASE("a causal convolution gathers its windows once, 16 bytes at a time") {
  bench own;
  cuda& b = own.backend;
  struct windows {
    int compression, stride;
    double gradient;  ///< passes over the gradient of the windows
  };
  // A thread has four tokens. Where the stride is no multiple of four, it may also read what its neighbours read.
  for (const auto& [compression, stride, gradient] :
       {windows{1, 1, 1}, windows{1, 4, 1}, windows{2, 1, 1.25}, windows{2, 2, 1}, windows{4, 4, 1}, windows{8, 4, 1},
        windows{4, 1, 1.75}, windows{16, 16, 1}}) {
    CAPTURE(compression, stride);
    const index_type positions = (n + stride - 1) / stride;
    const auto x = own.rows(), dx = own.rows(), y = own.rows(positions, D * compression);
    const int c = compression, s = stride;
    const auto forward = [&] { unfold(b, x, c, s, index_type{0}, y); };
    const auto backward = [&] { unfold_backward(b, y, c, s, index_type{0}, dx); };
    const double windows_of_a_token = static_cast<double>(compression) / stride;
    const double of_x = own.passes(x, forward), of_dy = own.passes(y, backward);
    CHECK(own.passes(y, forward) == once);
    CHECK(of_x <= windows_of_a_token);
    CHECK(of_x > 0.5 * windows_of_a_token);
    CHECK(of_dy <= gradient);
    CHECK(of_dy > 0.5);
    CHECK(own.passes(dx, backward) == read_and_written);
    const auto mean = own.rows(positions);
    CHECK(own.passes(mean, [&] { window_mean(b, x, c, s, mean); }) == once);
    CHECK(own.passes(dx, [&] { window_mean_backward(b, mean, c, s, dx); }) == read_and_written);
  }
}

TEST_CASE("merges read and write their rows once, 16 bytes at a time") {
  bench own;
  cuda& b = own.backend;
  constexpr int stride = 2;
  const auto fine = own.rows(), coarse = own.rows(n / stride), wide = own.rows(n, 2 * D),
             dcoarse = own.rows(n / stride);
  const auto weight = own.vector(), bias = own.vector(), dweight = own.vector(), dbias = own.vector();

  const auto repeats = [&] { repeat(b, coarse, stride, D, wide); };
  CHECK(own.passes(coarse, repeats) == stride);  // once for each copy
  CHECK(own.passes(wide, repeats) == 0.5);       // half of the columns
  const auto repeats_backward = [&] { repeat_backward(b, wide, stride, D, coarse); };
  CHECK(own.passes(wide, repeats_backward) == 0.5);
  CHECK(own.passes(coarse, repeats_backward) == read_and_written);
  const auto subsamples = [&] { subsample(b, wide, stride, D, coarse); };
  CHECK(own.passes(wide, subsamples) == 0.25);
  CHECK(own.passes(coarse, subsamples) == read_and_written);
  const auto subsamples_backward = [&] { subsample_backward(b, coarse, stride, D, wide); };
  CHECK(own.passes(coarse, subsamples_backward) == once);
  CHECK(own.passes(wide, subsamples_backward) == 0.5);
  const column_range range{1, D, 1, 0, D};
  CHECK(own.passes(wide, [&] { take_columns(b, wide, range, fine); }) == 0.5);
  CHECK(own.passes(fine, [&] { take_columns(b, wide, range, fine); }) == once);
  CHECK(own.passes(fine, [&] { take_columns_backward(b, fine, range, wide); }) == once);
  CHECK(own.passes(wide, [&] { take_columns_backward(b, fine, range, wide); }) == 0.5 * read_and_written);

  const auto scales = [&] { depthwise(b, coarse, stride, weight, bias, fine, update::replace); };
  CHECK(own.passes(coarse, scales) == stride);
  CHECK(own.passes(fine, scales) == once);
  const auto scales_backward = [&] { depthwise_backward(b, coarse, stride, weight, fine, dcoarse, dweight, dbias); };
  CHECK(own.passes(fine, scales_backward) == once);
  CHECK(own.passes(coarse, scales_backward) == once);
  CHECK(own.passes(dcoarse, scales_backward) == read_and_written);

  // Attention across levels: a block has one query or one key, which all its groups of lanes read. Several blocks read
  // the same keys or queries.
  constexpr index_type H = 3, E = D / H, span = 5;
  const cross_attention_shape shape{B, n, 1, n / stride, stride, H, E, span};
  const auto key_value = own.rows(n / stride, 2 * D), y = own.rows(), dfine = own.rows(),
             dkey_value = own.rows(n / stride, 2 * D);
  const auto distances = own.make<2>({H, span}), ddistances = own.make<2>({H, span});
  const auto log_sum_exp = own.make<3>({B, H, n});
  const auto attends = [&] {
    cross_attention(b, shape, fine.rows(), key_value.rows(), distances, y.rows(), log_sum_exp, update::replace);
  };
  CHECK(own.passes(fine, attends) >= once);
  CHECK(own.passes(key_value, attends) > once);
  CHECK(own.passes(y, attends) == once);
  const auto attends_backward = [&] {
    cross_attention_backward(b, shape, fine.rows(), key_value.rows(), distances, y.rows(), log_sum_exp, wide.rows(),
                             dfine.rows(), dkey_value.rows(), ddistances);
  };
  CHECK(own.passes(y, attends_backward) >= once);
  CHECK(own.passes(fine, attends_backward) > once);
  CHECK(own.passes(key_value, attends_backward) > once);
  CHECK(own.passes(dfine, attends_backward) == read_and_written);
  CHECK(own.passes(dkey_value, attends_backward) == read_and_written);
}

TEST_CASE("embeddings are gathered and their gradients scattered once, 16 bytes at a time") {
  bench own;
  cuda& b = own.backend;
  constexpr index_type V = 5;
  for (const index_type rows : {R, index_type{2100}}) {  // in one group of tiles and in two
    CAPTURE(rows);
    device_buffer<token> ids(rows);
    std::vector<token> host(static_cast<std::size_t>(rows));
    for (std::size_t r = 0; r < host.size(); ++r) host[r] = static_cast<token>(r % V);
    upload_tokens(b, {host.data(), {rows}}, ids.view());
    const auto table = own.make<2>({V, D}), y = own.make<2>({rows, D}), dtable = own.make<2>({V, D});
    CHECK(own.passes(y, [&] { embed(b, ids.view(), table, y, update::replace); }) == once);
    const auto backward = [&] { embed_backward(b, ids.view(), y, dtable); };
    CHECK(own.passes(y, backward) == once);
    CHECK(own.passes(dtable, backward) == read_and_written);
  }
}

TEST_CASE("the optimizer reads and writes its vectors once, 16 bytes at a time") {
  bench own;
  cuda& b = own.backend;
  constexpr index_type size = 16 * 200;
  const auto gradient = own.vector(size), weight = own.vector(size), first = own.vector(size),
             second = own.vector(size);
  const auto norm = own.vector(1);
  CHECK(own.passes(gradient, [&] { squared_norm(b, gradient, norm); }) == once);
  const auto step = [&] { adam(b, {.weight_decay = 0.1, .decayed = size / 2}, gradient, norm, weight, first, second); };
  CHECK(own.passes(gradient, step) == once);
  CHECK(own.passes(weight, step) == read_and_written);
  CHECK(own.passes(first, step) == read_and_written);
  CHECK(own.passes(second, step) == read_and_written);
}

TEST_CASE("muon reads and writes its vectors once, 16 bytes at a time") {
  bench own;
  cuda& b = own.backend;
  const std::array<matrix_place, 2> places{{{0, 24, 40}, {960, 40, 24}}};
  const index_type size = 2 * 960;
  const auto gradient = own.vector(size), weight = own.vector(size), first = own.vector(size),
             second = own.vector(size), norm = own.vector(1);
  for (const bool normalised : {false, true}) {
    CAPTURE(normalised);
    const auto step = [&] { muon(b, {.normalised = normalised}, places, gradient, norm, weight, first, second); };
    CHECK(own.passes(gradient, step) == once);
    CHECK(own.passes(weight, step) == read_and_written);
    CHECK(own.passes(first, step) == read_and_written);
  }
}

TEST_CASE("the sums over columns read their rows once, 16 bytes at a time") {
  bench own;
  cuda& b = own.backend;
  for (const index_type rows : {index_type{40}, index_type{300}}) {  // in one group and in several
    CAPTURE(rows);
    const auto dy = own.make<2>({rows, D}), x = own.make<2>({rows, 4}), dweight = own.make<2>({D, 4});
    CHECK(own.passes(dy, [&] { linear_backward_weight(b, dy, x, dweight, own.vector()); }) == once);
  }
}

TEST_CASE("attention reads queries, keys and values 16 bytes at a time") {
  for (const cuda_precision precision : {cuda_precision::float32, cuda_precision::bfloat16}) {
    bench own(precision);
    cuda& b = own.backend;
    constexpr int H = 2, E = 24, dim = H * E;
    const attention_shape shape{B, n, H, E, n, 1};  // one tile, so that everything is read once
    const auto qkv = own.make<2>({R, 3 * dim}), dqkv = own.make<2>({R, 3 * dim}), y = own.make<2>({R, dim}),
               dy = own.make<2>({R, dim});
    const auto table = own.make<3>({4, n, E / 2}), log_sum_exp = own.make<3>({B, H, n});
    const auto forward = [&] { attention(b, shape, table, qkv, y, log_sum_exp); };
    const auto backward = [&] { attention_backward(b, shape, table, qkv, y, log_sum_exp, dy, dqkv); };
    CHECK(own.passes(qkv, forward) == once);
    CHECK(own.passes(y, forward) == once);
    CHECK(own.passes(qkv, backward) == 2);  // one kernel for queries, one for keys
    CHECK(own.passes(dqkv, backward) == once);
  }
}

}  // namespace strata
