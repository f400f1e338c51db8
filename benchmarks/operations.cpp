// Every operation of the cpu backend at the sizes of `small` and `base`, as a fraction of a bound measured in the same
// run: of the multiply-add peak where arithmetic decides, of the bandwidth of a copy of as many bytes elsewhere.
#include <benchmark/benchmark.h>
#include <string>
#include <type_traits>

#include "bounds.hpp"

namespace {

using strata::index;
using strata::view;

/// Random numbers in [-1, 1].
strata::buffer<float> random_floats(index count) {
  const strata::random_source random(1);
  strata::buffer<float> values(count);
  for (index n = 0; n < count; ++n)
    values.data()[n] = static_cast<float>(2 * random.uniform(0, static_cast<std::uint64_t>(n)) - 1);
  return values;
}

/// Named tensors of one benchmark.
struct tensors {
  std::vector<strata::buffer<float>> owned;
  template <int Rank>
  view<float, Rank> make(std::array<index, Rank> shape) {
    owned.push_back(random_floats(view<float, Rank>{nullptr, shape}.size()));
    return {owned.back().data(), shape};
  }
};

strata::cpu& backend(strata::product_provider provider = strata::product_provider::automatic) {
  static strata::cpu standard, eigen({.products = strata::product_provider::eigen});
  return provider == strata::product_provider::eigen ? eigen : standard;
}

double seconds_of(benchmark::State& state, double work) {
  state.counters["rate"] = benchmark::Counter(work, benchmark::Counter::kIsIterationInvariantRate);
  return work;
}

/// Runs `operation` and reports its FLOP/s as a fraction of the peak.
template <class Operation>
void against_peak(benchmark::State& state, double flops, Operation operation) {
  const double peak = bounds::peak_flops(backend());
  for (auto _ : state) operation();
  seconds_of(state, flops);
  state.counters["of_peak"] = benchmark::Counter(flops / peak, benchmark::Counter::kIsIterationInvariantRate);
}

/// Runs `operation` and reports its bytes a second as a fraction of a copy's.
template <class Operation>
void against_bandwidth(benchmark::State& state, double bytes, Operation operation) {
  const double rate = bounds::bandwidth(backend(), bytes);
  for (auto _ : state) operation();
  seconds_of(state, bytes);
  state.counters["of_bandwidth"] = benchmark::Counter(bytes / rate, benchmark::Counter::kIsIterationInvariantRate);
}

struct size {
  const char* name;
  index batch, length, dim;
  int heads, head_dim;
  index span;
  index rows() const { return batch * length; }
};
constexpr size sizes[] = {{"small", 8, 512, 128, 4, 32, 33}, {"base", 4, 1024, 512, 8, 64, 33}};

template <class Body>
void add(const std::string& name, const size& s, Body body) {
  benchmark::RegisterBenchmark((name + "/" + s.name).c_str(), [=](benchmark::State& state) { body(state, s); })
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime()
      ->MinTime(0.1);
}

/// A product with one row, which reads each weight once.
template <class Weight>
void one_row(benchmark::State& state, const size& z) {
  tensors t;
  const auto x = t.make<2>({1, z.dim}), w = t.make<2>({4 * z.dim, z.dim}), y = t.make<2>({1, 4 * z.dim});
  const auto scale = t.make<1>({4 * z.dim});
  strata::buffer<Weight> memory(w.size());
  const view<Weight, 2> packed{memory.data(), w.shape};
  const auto run = [&](auto operation) {
    against_bandwidth(state, sizeof(Weight) * static_cast<double>(w.size()), operation);
  };
  if constexpr (std::is_same_v<Weight, strata::bfloat16>) {
    pack_bfloat16(backend(), w.flat(), packed.flat());
    run([&] { linear_bfloat16(backend(), x, packed, {}, y, strata::update::replace); });
  } else if constexpr (std::is_same_v<Weight, std::int8_t>) {
    pack_int8(backend(), w, packed, scale);
    run([&] { linear_int8(backend(), x, packed, scale, {}, y, strata::update::replace); });
  } else {
    run([&] { linear(backend(), x, w, {}, y, strata::update::replace); });
  }
}

void register_products() {
  for (const size& s : sizes)
    for (const auto provider : {strata::product_provider::automatic, strata::product_provider::eigen}) {
      const std::string suffix = provider == strata::product_provider::eigen ? "/eigen" : "";
      const auto flops = [](const size& z) { return 2.0 * static_cast<double>(z.rows() * z.dim * 4 * z.dim); };
      add("linear" + suffix, s, [=](benchmark::State& state, const size& z) {
        tensors t;
        const auto x = t.make<2>({z.rows(), z.dim}), w = t.make<2>({4 * z.dim, z.dim}),
                   y = t.make<2>({z.rows(), 4 * z.dim});
        against_peak(state, flops(z), [&] { linear(backend(provider), x, w, {}, y, strata::update::replace); });
      });
      add("linear_backward_input" + suffix, s, [=](benchmark::State& state, const size& z) {
        tensors t;
        const auto x = t.make<2>({z.rows(), z.dim}), w = t.make<2>({4 * z.dim, z.dim}),
                   y = t.make<2>({z.rows(), 4 * z.dim});
        against_peak(state, flops(z),
                     [&] { linear_backward_input(backend(provider), y, w, x, strata::update::replace); });
      });
      add("linear_backward_weight" + suffix, s, [=](benchmark::State& state, const size& z) {
        tensors t;
        const auto x = t.make<2>({z.rows(), z.dim}), w = t.make<2>({4 * z.dim, z.dim}),
                   y = t.make<2>({z.rows(), 4 * z.dim});
        against_peak(state, flops(z), [&] { linear_backward_weight(backend(provider), y, x, w, {}); });
      });
    }
  for (const size& s : sizes) {
    add("linear/1_row", s, one_row<float>);
    add("linear_bfloat16/1_row", s, one_row<strata::bfloat16>);
    add("linear_int8/1_row", s, one_row<std::int8_t>);
  }
}

void register_attention() {
  for (const size& s : sizes) {
    const auto shape_of = [](const size& z) {
      return strata::attention_shape{z.batch, z.length, z.heads, z.head_dim, z.span, 1};
    };
    const auto flops = [](const size& z) {  // of the keys inside the window, not of those the tiles add
      return 4.0 * static_cast<double>(z.rows() * z.span * z.heads * z.head_dim);
    };
    add("attention", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto shape = shape_of(z);
      const auto qkv = t.make<2>({z.rows(), 3 * shape.dim()}), y = t.make<2>({z.rows(), shape.dim()});
      const auto lse = t.make<3>({z.batch, z.heads, z.length}), table = t.make<3>({4, z.length, z.head_dim / 2});
      against_peak(state, flops(z), [&] { attention(backend(), shape, table, qkv, y, lse); });
    });
    add("attention_backward", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto shape = shape_of(z);
      const auto qkv = t.make<2>({z.rows(), 3 * shape.dim()}), y = t.make<2>({z.rows(), shape.dim()});
      const auto dy = t.make<2>({z.rows(), shape.dim()}), dqkv = t.make<2>({z.rows(), 3 * shape.dim()});
      const auto lse = t.make<3>({z.batch, z.heads, z.length}), table = t.make<3>({4, z.length, z.head_dim / 2});
      attention(backend(), shape, table, qkv, y, lse);
      against_peak(state, 2.5 * flops(z), [&] { attention_backward(backend(), shape, table, qkv, y, lse, dy, dqkv); });
    });
    add("attention_step", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      auto shape = shape_of(z);
      shape.batch = shape.length = 1;
      const auto qkv = t.make<2>({1, 3 * shape.dim()}), y = t.make<2>({1, shape.dim()});
      const auto keys = t.make<3>({1, z.span, shape.dim()}), values = t.make<3>({1, z.span, shape.dim()});
      const auto table = t.make<3>({2, z.span, z.head_dim / 2});
      index count = 0;
      against_bandwidth(state, 8.0 * static_cast<double>(z.span * shape.dim()),
                        [&] { attention_step(backend(), shape, count++, qkv, table, keys, values, y); });
    });
  }
}

/// Attention of every position to the 16 newest of a level that is four times as coarse.
void register_cross_attention() {
  for (const size& s : sizes) {
    const auto shape_of = [](const size& z) {
      return strata::cross_attention_shape{.batch = z.batch,
                                           .queries = z.length,
                                           .query_stride = 1,
                                           .keys = z.length / 4,
                                           .key_stride = 4,
                                           .heads = z.heads,
                                           .head_dim = z.head_dim,
                                           .span = 16};
    };
    struct operands {
      tensors own;
      view<float, 2> query, key_value, bias, y, dy, dquery, dkey_value, dbias;
      view<float, 3> log_sum_exp;
      operands(const size& z, const strata::cross_attention_shape& shape)
          : query(own.make<2>({z.rows(), shape.dim()})),
            key_value(own.make<2>({z.rows() / 4, 2 * shape.dim()})),
            bias(own.make<2>({index{shape.heads}, shape.span})),
            y(own.make<2>({z.rows(), shape.dim()})),
            dy(own.make<2>({z.rows(), shape.dim()})),
            dquery(own.make<2>({z.rows(), shape.dim()})),
            dkey_value(own.make<2>({z.rows() / 4, 2 * shape.dim()})),
            dbias(own.make<2>({index{shape.heads}, shape.span})),
            log_sum_exp(own.make<3>({z.batch, shape.heads, z.length})) {}
      void forward(const strata::cross_attention_shape& shape) const {
        cross_attention(backend(), shape, query, key_value, bias, y, log_sum_exp, strata::update::replace);
      }
    };
    add("cross_attention", s, [=](benchmark::State& state, const size& z) {
      const auto shape = shape_of(z);
      const operands t(z, shape);
      against_peak(state, shape.flops(), [&] { t.forward(shape); });
    });
    add("cross_attention_backward", s, [=](benchmark::State& state, const size& z) {
      const auto shape = shape_of(z);
      const operands t(z, shape);
      t.forward(shape);
      against_peak(state, 2.5 * shape.flops(), [&] {
        cross_attention_backward(backend(), shape, t.query, t.key_value, t.bias, t.y, t.log_sum_exp, t.dy, t.dquery,
                                 t.dkey_value, t.dbias);
      });
    });
  }
}

/// `streams`: how many arrays of rows x dim (or 4 dim) are read or written once.
void register_elementwise() {
  for (const size& s : sizes) {
    const auto bytes = [](const size& z, int streams) { return 4.0 * streams * static_cast<double>(z.rows() * z.dim); };
    add("rms_norm", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto x = t.make<3>({z.batch, z.length, z.dim}), y = t.make<3>({z.batch, z.length, z.dim});
      const auto gain = t.make<1>({z.dim}), factor = t.make<1>({z.rows()});
      against_bandwidth(state, bytes(z, 2), [&] { rms_norm(backend(), x, gain, 1, y, factor); });
    });
    add("rms_norm_backward", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto x = t.make<3>({z.batch, z.length, z.dim}), dy = t.make<3>({z.batch, z.length, z.dim});
      const auto dx = t.make<3>({z.batch, z.length, z.dim});
      const auto gain = t.make<1>({z.dim}), factor = t.make<1>({z.rows()}), dgain = t.make<1>({z.dim});
      against_bandwidth(state, bytes(z, 4), [&] { rms_norm_backward(backend(), x, gain, 1, factor, dy, dx, dgain); });
    });
    add("layer_norm", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto x = t.make<3>({z.batch, z.length, z.dim}), y = t.make<3>({z.batch, z.length, z.dim});
      const auto gain = t.make<1>({z.dim}), bias = t.make<1>({z.dim});
      const auto factor = t.make<1>({z.rows()}), mean = t.make<1>({z.rows()});
      against_bandwidth(state, bytes(z, 2), [&] { layer_norm(backend(), x, gain, bias, 1, y, factor, mean); });
    });
    add("layer_norm_backward", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto x = t.make<3>({z.batch, z.length, z.dim}), dy = t.make<3>({z.batch, z.length, z.dim});
      const auto dx = t.make<3>({z.batch, z.length, z.dim});
      const auto gain = t.make<1>({z.dim}), factor = t.make<1>({z.rows()}), mean = t.make<1>({z.rows()});
      const auto dgain = t.make<1>({z.dim}), dbias = t.make<1>({z.dim});
      against_bandwidth(state, bytes(z, 4),
                        [&] { layer_norm_backward(backend(), x, gain, 1, factor, mean, dy, dx, dgain, dbias); });
    });
    const auto one_in = [&](const char* name, auto operation) {
      add(name, s, [=](benchmark::State& state, const size& z) {
        tensors t;
        const auto x = t.make<1>({4 * z.rows() * z.dim}), y = t.make<1>({4 * z.rows() * z.dim});
        against_bandwidth(state, bytes(z, 8), [&] { operation(x, y); });
      });
    };
    one_in("gelu", [](auto x, auto y) { gelu(backend(), x, y); });
    one_in("silu", [](auto x, auto y) { silu(backend(), x, y); });
    one_in("dropout", [](auto x, auto y) { dropout(backend(), {0.1, 1, 2}, x, y, strata::update::replace); });
    one_in("copy", [](auto x, auto y) { copy(backend(), x, y); });
    one_in("gelu_backward", [](auto x, auto y) { gelu_backward(backend(), x, y, y); });
    one_in("silu_backward", [](auto x, auto y) { silu_backward(backend(), x, y, y); });
    one_in("add", [](auto x, auto y) { strata::add(backend(), x, y); });
    add("fill", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto y = t.make<1>({4 * z.rows() * z.dim});
      against_bandwidth(state, bytes(z, 4), [&] { fill(backend(), 0.f, y); });
    });
  }
}

void register_others() {
  for (const size& s : sizes) {
    const auto ids_of = [](index count) {
      std::vector<strata::token> ids(static_cast<std::size_t>(count));
      for (std::size_t n = 0; n < ids.size(); ++n) ids[n] = static_cast<strata::token>(n * 7919 % 256);
      return ids;
    };
    add("embed", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto ids = ids_of(z.rows());
      const auto table = t.make<2>({256, z.dim}), y = t.make<2>({z.rows(), z.dim});
      against_bandwidth(state, 8.0 * static_cast<double>(y.size()), [&] {
        embed(backend(), {ids.data(), {z.rows()}}, table, y);
      });
    });
    add("embed_backward", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto ids = ids_of(z.rows());
      const auto table = t.make<2>({256, z.dim}), dy = t.make<2>({z.rows(), z.dim});
      against_bandwidth(state, 12.0 * static_cast<double>(dy.size()), [&] {
        embed_backward(backend(), {ids.data(), {z.rows()}}, dy, table);
      });
    });
    const auto resampled = [&](const char* name, double bytes_an_element, auto operation) {
      add(name, s, [=](benchmark::State& state, const size& z) {
        tensors t;
        const auto x = t.make<3>({z.batch, z.length, z.dim}), wide = t.make<3>({z.batch, z.length, 2 * z.dim});
        against_bandwidth(state, bytes_an_element * static_cast<double>(x.size()), [&] { operation(z, x, wide); });
      });
    };
    resampled("unfold", 12, [](const size&, auto x, auto y) { unfold(backend(), x, 2, 1, index{0}, y); });
    resampled("unfold_backward", 16,
              [](const size&, auto x, auto y) { unfold_backward(backend(), y, 2, 1, index{0}, x); });
    resampled("repeat", 8, [](const size& z, auto x, auto y) { repeat(backend(), x, 1, z.dim, y); });
    resampled("repeat_backward", 12, [](const size& z, auto x, auto y) { repeat_backward(backend(), y, 1, z.dim, x); });
    resampled("subsample", 12, [](const size& z, auto x, auto y) { subsample(backend(), y, 1, z.dim, x); });
    resampled("subsample_backward", 8,
              [](const size& z, auto x, auto y) { subsample_backward(backend(), x, 1, z.dim, y); });
    add("cross_entropy", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto targets = ids_of(z.rows());
      const auto logits = t.make<2>({z.rows(), 256});
      const auto loss = t.make<1>({1});
      against_bandwidth(state, 8.0 * static_cast<double>(logits.size()), [&] {
        cross_entropy(backend(), logits, {targets.data(), {z.rows()}}, strata::token{-1}, 1.f, loss, logits);
      });
    });
    add("window_targets", s, [=](benchmark::State& state, const size& z) {
      const auto ids = ids_of(z.rows());
      std::vector<strata::token> targets(static_cast<std::size_t>(4 * z.rows()));
      against_bandwidth(state, 20.0 * static_cast<double>(z.rows()), [&] {
        window_targets(backend(), {ids.data(), {z.batch, z.length}}, 1, index{-3},
                       {targets.data(), {z.batch, z.length, 4}});
      });
    });
    add("quantize", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto x = t.make<3>({z.batch, z.length, z.dim});
      const auto projections = t.make<3>({4, z.dim, 16}), codebooks = t.make<3>({4, 1024, 16});
      std::vector<strata::token> codes(static_cast<std::size_t>(4 * z.rows()));
      against_peak(state, 2.0 * static_cast<double>(codes.size()) * 16 * static_cast<double>(z.dim + 1024), [&] {
        quantize(backend(), x, projections, codebooks, {codes.data(), {z.batch, z.length, 4}});
      });
    });
    add("cosine_distance", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const std::array<index, 3> shape{z.batch, z.length, z.dim};
      const auto p = t.make<3>(shape), e = t.make<3>(shape), dp = t.make<3>(shape), de = t.make<3>(shape);
      const auto loss = t.make<1>({1});
      against_bandwidth(state, 20.0 * static_cast<double>(p.size()),
                        [&] { cosine_distance(backend(), p, e, 1.f, loss, dp, de); });
    });
    add("squared_norm", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const auto x = t.make<1>({12 * z.dim * z.dim}), result = t.make<1>({1});
      against_bandwidth(state, 4.0 * static_cast<double>(x.size()), [&] { squared_norm(backend(), x, result); });
    });
    add("adam", s, [=](benchmark::State& state, const size& z) {
      tensors t;
      const index count = 12 * z.dim * z.dim;
      const auto g = t.make<1>({count}), w = t.make<1>({count}), m = t.make<1>({count}), v = t.make<1>({count});
      const auto norm = t.make<1>({1});
      fill(backend(), 0.f, v);
      norm(0) = 1;
      against_bandwidth(state, 28.0 * static_cast<double>(count),
                        [&] { adam(backend(), {.decayed = count}, g, norm, w, m, v); });
    });
  }
}

}  // namespace

/// What it costs to hand work to all threads and wait for them.
void parallel_region(benchmark::State& state) {
  for (auto _ : state) backend().pool().run([](int) {});
}

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  benchmark::RegisterBenchmark("parallel_region", parallel_region)->Unit(benchmark::kMicrosecond)->UseRealTime();
  register_products();
  register_attention();
  register_cross_attention();
  register_elementwise();
  register_others();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("peak_GFLOP/s", std::to_string(bounds::peak_flops(backend()) / 1e9));
  benchmark::RunSpecifiedBenchmarks();
}
