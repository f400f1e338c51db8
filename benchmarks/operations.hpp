// The operations of a backend at the sizes of `small` and `base`, as a fraction of a bound that is measured in the same
// run: the peak of multiply-adds where arithmetic decides, else the bandwidth of a copy of as many bytes. One program
// for each device.
#pragma once

#include <benchmark/benchmark.h>
#include <string>
#include <type_traits>
#include <vector>

#include "measuring.hpp"

namespace measuring {

using strata::token;
using strata::view;

/// One benchmark: its backend, its tensors and its counters.
template <class Device>
class workbench {
 public:
  using backend_type = typename Device::backend_type;
  template <class T>
  using storage = typename backend_type::template storage<T>;

  workbench(benchmark::State& state, backend_type& own) : backend(own), state_(state) {}

  backend_type& backend;

  template <int Rank>
  view<float, Rank> floats(const index_type (&shape)[Rank]) {
    const view<float, Rank> shaped{nullptr, std::to_array(shape)};
    floats_.push_back(random_floats(backend, shaped.size()));
    return {floats_.back().data(), shaped.shape};
  }
  template <int Rank>
  view<token, Rank> tokens(const index_type (&shape)[Rank]) {
    const view<token, Rank> shaped{nullptr, std::to_array(shape)};
    return {uploaded(some_tokens(shaped.size())).data, shaped.shape};
  }
  /// The rows 0, 4, 8, ..
  view<token, 1> every_fourth(index_type count) {
    std::vector<token> rows(static_cast<std::size_t>(count));
    for (std::size_t n = 0; n < rows.size(); ++n) rows[n] = static_cast<token>(4 * n);
    return uploaded(rows);
  }

  /// Runs `operation` and reports its FLOP/s as a fraction of the peak.
  template <class Operation>
  void against_peak(double flops, Operation operation) {
    run("of_peak", flops, Device::peak_flops(backend), operation);
  }
  /// Runs `operation` and reports its bytes a second as a fraction of a copy's.
  template <class Operation>
  void against_bandwidth(double bytes, Operation operation) {
    run("of_bandwidth", bytes, Device::bandwidth(backend, bytes), operation);
  }

 private:
  view<token, 1> uploaded(const std::vector<token>& host) {
    const auto count = static_cast<index_type>(host.size());
    tokens_.emplace_back(count);
    upload_tokens(backend, view<const token, 1>{host.data(), {count}}, tokens_.back().view());
    return tokens_.back().view();
  }
  template <class Operation>
  void run(const char* fraction, double work, double bound, Operation operation) {
    repeated<Device, Operation> calls(backend, operation);
    while (state_.KeepRunningBatch(calls.count)) calls.run();
    const auto rate = [](double of_one) {
      return benchmark::Counter(of_one, benchmark::Counter::kIsIterationInvariantRate);
    };
    state_.counters["rate"] = rate(work);
    state_.counters[fraction] = rate(work / bound);
  }

  benchmark::State& state_;
  std::vector<storage<float>> floats_;
  std::vector<storage<token>> tokens_;
};

struct size {
  const char* name;
  index_type batch, length, dim;
  int heads, head_dim;
  index_type span;
  index_type rows() const { return batch * length; }
};
inline constexpr size sizes[] = {{"small", 8, 512, 128, 4, 32, 33}, {"base", 4, 1024, 512, 8, 64, 33}};

/// Registers `body(workbench, size)` for measurement in a setup of the device.
template <class Device, class Body>
void measure(const std::string& name, const size& s, const typename Device::setup& setup, Body body) {
  benchmark::RegisterBenchmark((name + setup.name + "/" + s.name).c_str(),
                               [=](benchmark::State& state) {
                                 workbench<Device> bench(state, Device::open(setup));
                                 body(bench, s);
                               })
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime()
      ->MinTime(0.1);
}
template <class Device, class Body>
void measure(const std::string& name, const size& s, Body body) {
  measure<Device>(name, s, Device::standard, body);
}

/// The memory of x[B,n,2D] as [B,n/2,D].
inline view<float, 3> half_of(const view<float, 3>& x) {
  return {x.data, {x.shape[0], x.shape[1] / 2, x.shape[2] / 2}};
}

/// A matrix product with one row. It reads each weight once.
template <class Device, class Weight>
void one_row(workbench<Device>& bench, const size& z) {
  const auto x = bench.floats({1, z.dim}), w = bench.floats({4 * z.dim, z.dim}), y = bench.floats({1, 4 * z.dim});
  const auto scale = bench.floats({4 * z.dim});
  typename workbench<Device>::template storage<Weight> memory(w.size());
  const view<Weight, 2> packed{memory.data(), w.shape};
  const auto run = [&](auto operation) {
    bench.against_bandwidth(sizeof(Weight) * static_cast<double>(w.size()), operation);
  };
  auto& b = bench.backend;
  if constexpr (std::is_same_v<Weight, strata::bfloat16>) {
    pack_bfloat16(b, w.flat(), packed.flat());
    run([&] { linear_bfloat16(b, x, packed, {}, y, strata::update::replace); });
  } else if constexpr (std::is_same_v<Weight, std::int8_t>) {
    pack_int8(b, w, packed, scale);
    run([&] { linear_int8(b, x, packed, scale, {}, y, strata::update::replace); });
  } else {
    run([&] { linear(b, x, w, {}, y, strata::update::replace); });
  }
}

template <class Device>
void register_products() {
  for (const size& s : sizes)
    for (const auto& setup : Device::of_products) {
      const auto flops = [](const size& z) { return 2.0 * static_cast<double>(z.rows() * z.dim * 4 * z.dim); };
      measure<Device>("linear", s, setup, [=](auto& bench, const size& z) {
        const auto x = bench.floats({z.rows(), z.dim}), w = bench.floats({4 * z.dim, z.dim}),
                   y = bench.floats({z.rows(), 4 * z.dim});
        bench.against_peak(flops(z), [&] { linear(bench.backend, x, w, {}, y, strata::update::replace); });
      });
      measure<Device>("linear_backward_input", s, setup, [=](auto& bench, const size& z) {
        const auto x = bench.floats({z.rows(), z.dim}), w = bench.floats({4 * z.dim, z.dim}),
                   y = bench.floats({z.rows(), 4 * z.dim});
        bench.against_peak(flops(z), [&] { linear_backward_input(bench.backend, y, w, x, strata::update::replace); });
      });
      measure<Device>("linear_backward_weight", s, setup, [=](auto& bench, const size& z) {
        const auto x = bench.floats({z.rows(), z.dim}), w = bench.floats({4 * z.dim, z.dim}),
                   y = bench.floats({z.rows(), 4 * z.dim});
        bench.against_peak(flops(z), [&] { linear_backward_weight(bench.backend, y, x, w, {}); });
      });
    }
  for (const size& s : sizes) {
    measure<Device>("linear/1_row", s, one_row<Device, float>);
    measure<Device>("linear_bfloat16/1_row", s, one_row<Device, strata::bfloat16>);
    measure<Device>("linear_int8/1_row", s, one_row<Device, std::int8_t>);
  }
}

template <class Device>
void register_attention() {
  for (const size& s : sizes) {
    const auto shape_of = [](const size& z) {
      return strata::attention_shape{z.batch, z.length, z.heads, z.head_dim, z.span, 1};
    };
    const auto flops = [](const size& z) {  // keys inside the window only; tiles hold more
      return 4.0 * static_cast<double>(z.rows() * z.span * z.heads * z.head_dim);
    };
    for (const auto& setup : Device::of_attention) {
      measure<Device>("attention", s, setup, [=](auto& bench, const size& z) {
        const auto shape = shape_of(z);
        const auto qkv = bench.floats({z.rows(), 3 * shape.dim()}), y = bench.floats({z.rows(), shape.dim()});
        const auto lse = bench.floats({z.batch, z.heads, z.length}),
                   table = bench.floats({4, z.length, z.head_dim / 2});
        bench.against_peak(flops(z), [&] { attention(bench.backend, shape, table, qkv, y, lse); });
      });
      measure<Device>("attention_backward", s, setup, [=](auto& bench, const size& z) {
        const auto shape = shape_of(z);
        const auto qkv = bench.floats({z.rows(), 3 * shape.dim()}), y = bench.floats({z.rows(), shape.dim()});
        const auto dy = bench.floats({z.rows(), shape.dim()}), dqkv = bench.floats({z.rows(), 3 * shape.dim()});
        const auto lse = bench.floats({z.batch, z.heads, z.length}),
                   table = bench.floats({4, z.length, z.head_dim / 2});
        attention(bench.backend, shape, table, qkv, y, lse);
        bench.against_peak(2.5 * flops(z),
                           [&] { attention_backward(bench.backend, shape, table, qkv, y, lse, dy, dqkv); });
      });
    }
    measure<Device>("attention_step", s, [=](auto& bench, const size& z) {
      auto shape = shape_of(z);
      shape.batch = shape.length = 1;
      const auto qkv = bench.floats({1, 3 * shape.dim()}), y = bench.floats({1, shape.dim()});
      const auto keys = bench.floats({1, z.span, shape.dim()}), values = bench.floats({1, z.span, shape.dim()});
      const auto table = bench.floats({2, z.span, z.head_dim / 2});
      index_type count = z.span;  // its ring is full
      bench.against_bandwidth(8.0 * static_cast<double>(z.span * shape.dim()),
                              [&] { attention_step(bench.backend, shape, count++, qkv, table, keys, values, y); });
    });
  }
}

/// Every position attends to the 16 newest positions of a level that is four times as coarse.
template <class Device>
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
      view<float, 2> query, key_value, bias, y, dy, dquery, dkey_value, dbias;
      view<float, 3> log_sum_exp;
      operands(workbench<Device>& bench, const size& z, const strata::cross_attention_shape& shape)
          : query(bench.floats({z.rows(), shape.dim()})),
            key_value(bench.floats({z.rows() / 4, 2 * shape.dim()})),
            bias(bench.floats({index_type{shape.heads}, shape.span})),
            y(bench.floats({z.rows(), shape.dim()})),
            dy(bench.floats({z.rows(), shape.dim()})),
            dquery(bench.floats({z.rows(), shape.dim()})),
            dkey_value(bench.floats({z.rows() / 4, 2 * shape.dim()})),
            dbias(bench.floats({index_type{shape.heads}, shape.span})),
            log_sum_exp(bench.floats({z.batch, shape.heads, z.length})) {}
      void forward(typename Device::backend_type& backend, const strata::cross_attention_shape& shape) const {
        cross_attention(backend, shape, query, key_value, bias, y, log_sum_exp, strata::update::replace);
      }
    };
    measure<Device>("cross_attention", s, [=](auto& bench, const size& z) {
      const auto shape = shape_of(z);
      const operands own(bench, z, shape);
      bench.against_peak(shape.flops(), [&] { own.forward(bench.backend, shape); });
    });
    measure<Device>("cross_attention_backward", s, [=](auto& bench, const size& z) {
      const auto shape = shape_of(z);
      const operands own(bench, z, shape);
      own.forward(bench.backend, shape);
      bench.against_peak(2.5 * shape.flops(), [&] {
        cross_attention_backward(bench.backend, shape, own.query, own.key_value, own.bias, own.y, own.log_sum_exp,
                                 own.dy, own.dquery, own.dkey_value, own.dbias);
      });
    });
  }
}

/// `streams`: how many arrays of rows x dim (or 4 dim) are read or written once.
template <class Device>
void register_elementwise() {
  for (const size& s : sizes) {
    const auto bytes = [](const size& z, int streams) { return 4.0 * streams * static_cast<double>(z.rows() * z.dim); };
    measure<Device>("rms_norm", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({z.batch, z.length, z.dim}), y = bench.floats({z.batch, z.length, z.dim});
      const auto gain = bench.floats({z.dim}), factor = bench.floats({z.rows()});
      bench.against_bandwidth(bytes(z, 2), [&] { rms_norm(bench.backend, x, gain, 1, y, factor); });
    });
    measure<Device>("rms_norm_backward", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({z.batch, z.length, z.dim}), dy = bench.floats({z.batch, z.length, z.dim});
      const auto dx = bench.floats({z.batch, z.length, z.dim});
      const auto gain = bench.floats({z.dim}), factor = bench.floats({z.rows()}), dgain = bench.floats({z.dim});
      bench.against_bandwidth(bytes(z, 4),
                              [&] { rms_norm_backward(bench.backend, x, gain, 1, factor, dy, dx, dgain); });
    });
    measure<Device>("layer_norm", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({z.batch, z.length, z.dim}), y = bench.floats({z.batch, z.length, z.dim});
      const auto gain = bench.floats({z.dim}), bias = bench.floats({z.dim});
      const auto factor = bench.floats({z.rows()}), mean = bench.floats({z.rows()});
      bench.against_bandwidth(bytes(z, 2), [&] { layer_norm(bench.backend, x, gain, bias, 1, y, factor, mean); });
    });
    measure<Device>("layer_norm_backward", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({z.batch, z.length, z.dim}), dy = bench.floats({z.batch, z.length, z.dim});
      const auto dx = bench.floats({z.batch, z.length, z.dim});
      const auto gain = bench.floats({z.dim}), factor = bench.floats({z.rows()}), mean = bench.floats({z.rows()});
      const auto dgain = bench.floats({z.dim}), dbias = bench.floats({z.dim});
      bench.against_bandwidth(
          bytes(z, 4), [&] { layer_norm_backward(bench.backend, x, gain, 1, factor, mean, dy, dx, dgain, dbias); });
    });
    const auto one_in = [&](const char* name, int streams, auto operation) {
      measure<Device>(name, s, [=](auto& bench, const size& z) {
        const auto x = bench.floats({4 * z.rows() * z.dim}), y = bench.floats({4 * z.rows() * z.dim});
        bench.against_bandwidth(bytes(z, 4 * streams), [&] { operation(bench.backend, x, y); });
      });
    };
    one_in("gelu", 2, [](auto& b, auto x, auto y) { gelu(b, x, y); });
    one_in("silu", 2, [](auto& b, auto x, auto y) { silu(b, x, y); });
    one_in("dropout", 2, [](auto& b, auto x, auto y) { dropout(b, {0.1, 1, 2}, x, y, strata::update::replace); });
    one_in("copy", 2, [](auto& b, auto x, auto y) { copy(b, x, y); });
    one_in("gelu_backward", 3, [](auto& b, auto x, auto y) { gelu_backward(b, x, y, y); });
    one_in("silu_backward", 3, [](auto& b, auto x, auto y) { silu_backward(b, x, y, y); });
    one_in("add", 3, [](auto& b, auto x, auto y) { add(b, x, y); });
    one_in("mix", 3, [](auto& b, auto x, auto y) { mix(b, 0.5f, x, y); });
    measure<Device>("fill", s, [=](auto& bench, const size& z) {
      const auto y = bench.floats({4 * z.rows() * z.dim});
      bench.against_bandwidth(bytes(z, 4), [&] { fill(bench.backend, 0.f, y); });
    });
  }
}

template <class Device>
void register_others() {
  for (const size& s : sizes) {
    measure<Device>("embed", s, [=](auto& bench, const size& z) {
      const auto ids = bench.tokens({z.rows()});
      const auto table = bench.floats({256, z.dim}), y = bench.floats({z.rows(), z.dim});
      bench.against_bandwidth(8.0 * static_cast<double>(y.size()),
                              [&] { embed(bench.backend, ids, table, y, strata::update::replace); });
    });
    measure<Device>("embed_backward", s, [=](auto& bench, const size& z) {
      const auto ids = bench.tokens({z.rows()});
      const auto table = bench.floats({256, z.dim}), dy = bench.floats({z.rows(), z.dim});
      bench.against_bandwidth(12.0 * static_cast<double>(dy.size()),
                              [&] { embed_backward(bench.backend, ids, dy, table); });
    });
    const auto resampled = [&](const char* name, double bytes_an_element, auto operation) {
      measure<Device>(name, s, [=](auto& bench, const size& z) {
        const auto x = bench.floats({z.batch, z.length, z.dim}), wide = bench.floats({z.batch, z.length, 2 * z.dim});
        bench.against_bandwidth(bytes_an_element * static_cast<double>(x.size()),
                                [&] { operation(bench.backend, z, x, wide); });
      });
    };
    resampled("unfold", 12, [](auto& b, const size&, auto x, auto y) { unfold(b, x, 2, 1, index_type{0}, y); });
    resampled("unfold_backward", 16,
              [](auto& b, const size&, auto x, auto y) { unfold_backward(b, y, 2, 1, index_type{0}, x); });
    resampled("repeat", 8, [](auto& b, const size& z, auto x, auto y) { repeat(b, x, 1, z.dim, y); });
    resampled("repeat_backward", 12,
              [](auto& b, const size& z, auto x, auto y) { repeat_backward(b, y, 1, z.dim, x); });
    resampled("subsample", 12, [](auto& b, const size& z, auto x, auto y) { subsample(b, y, 1, z.dim, x); });
    resampled("subsample_backward", 8,
              [](auto& b, const size& z, auto x, auto y) { subsample_backward(b, x, 1, z.dim, y); });
    resampled("window_mean", 6, [](auto& b, const size&, auto x, auto y) { window_mean(b, x, 2, 2, half_of(y)); });
    resampled("window_mean_backward", 10,
              [](auto& b, const size&, auto x, auto y) { window_mean_backward(b, half_of(y), 2, 2, x); });
    resampled("take_columns", 8, [](auto& b, const size& z, auto x, auto y) {
      take_columns(b, x, {.to_column = z.dim, .width = z.dim}, y);
    });
    resampled("take_columns_backward", 12, [](auto& b, const size& z, auto x, auto y) {
      take_columns_backward(b, y, {.to_column = z.dim, .width = z.dim}, x);
    });
    measure<Device>("depthwise", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({z.batch, z.length, z.dim}), y = bench.floats({z.batch, z.length, z.dim});
      const auto weight = bench.floats({z.dim}), bias = bench.floats({z.dim});
      bench.against_bandwidth(8.0 * static_cast<double>(x.size()),
                              [&] { depthwise(bench.backend, x, 1, weight, bias, y, strata::update::replace); });
    });
    measure<Device>("depthwise_backward", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({z.batch, z.length, z.dim}), dy = bench.floats({z.batch, z.length, z.dim});
      const auto dx = bench.floats({z.batch, z.length, z.dim});
      const auto weight = bench.floats({z.dim}), dweight = bench.floats({z.dim}), dbias = bench.floats({z.dim});
      bench.against_bandwidth(16.0 * static_cast<double>(x.size()),
                              [&] { depthwise_backward(bench.backend, x, 1, weight, dy, dx, dweight, dbias); });
    });
    measure<Device>("cross_entropy", s, [=](auto& bench, const size& z) {
      const auto targets = bench.tokens({z.rows()});
      const auto logits = bench.floats({z.rows(), 256});
      const auto loss = bench.floats({1});
      bench.against_bandwidth(8.0 * static_cast<double>(logits.size()),
                              [&] { cross_entropy(bench.backend, logits, targets, token{-1}, 1.f, loss, logits); });
    });
    measure<Device>("window_targets", s, [=](auto& bench, const size& z) {
      const auto ids = bench.tokens({z.batch, z.length});
      const auto targets = bench.tokens({z.batch, z.length, 4});
      bench.against_bandwidth(20.0 * static_cast<double>(z.rows()),
                              [&] { window_targets(bench.backend, ids, 1, index_type{-3}, targets); });
    });
    measure<Device>("quantize", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({z.batch, z.length, z.dim});
      const auto projections = bench.floats({4, z.dim, 16}), codebooks = bench.floats({4, 1024, 16});
      const auto codes = bench.tokens({z.batch, z.length, 4});
      bench.against_peak(2.0 * static_cast<double>(codes.size()) * 16 * static_cast<double>(z.dim + 1024),
                         [&] { quantize(bench.backend, x, projections, codebooks, codes); });
    });
    measure<Device>("cosine_distance", s, [=](auto& bench, const size& z) {
      const index_type shape[] = {z.batch, z.length, z.dim};
      const auto p = bench.floats(shape), e = bench.floats(shape), dp = bench.floats(shape), de = bench.floats(shape);
      const auto loss = bench.floats({1});
      bench.against_bandwidth(20.0 * static_cast<double>(p.size()),
                              [&] { cosine_distance(bench.backend, p, e, 1.f, loss, dp, de); });
    });
    measure<Device>("embedding_distance", s, [=](auto& bench, const size& z) {
      const index_type shape[] = {z.batch, z.length, z.dim};
      const auto p = bench.floats(shape), e = bench.floats(shape), dp = bench.floats(shape), de = bench.floats(shape);
      const auto loss = bench.floats({1}), lost = bench.floats({z.rows()});
      const auto targets = bench.tokens({z.rows()});
      bench.against_bandwidth(20.0 * static_cast<double>(p.size()), [&] {
        embedding_distance(bench.backend, {}, p, e, index_type{0}, targets, token{-1}, 1.f, loss, lost, dp, de);
      });
    });
    measure<Device>("sigmoid_pairs", s, [=](auto& bench, const size& z) {
      const auto cosines = bench.floats({256, z.rows()});
      const auto log_scale = bench.floats({1}), bias = bench.floats({1}), loss = bench.floats({1}),
                 dlog_scale = bench.floats({1}), dbias = bench.floats({1});
      bench.against_bandwidth(8.0 * static_cast<double>(cosines.size()), [&] {
        sigmoid_pairs(bench.backend, cosines, index_type{0}, log_scale, bias, 1.f, loss, dlog_scale, dbias);
      });
    });
    measure<Device>("squared_norm", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({12 * z.dim * z.dim}), result = bench.floats({1});
      bench.against_bandwidth(4.0 * static_cast<double>(x.size()), [&] { squared_norm(bench.backend, x, result); });
    });
    measure<Device>("adam", s, [=](auto& bench, const size& z) {
      const index_type count = 12 * z.dim * z.dim;
      const auto g = bench.floats({count}), w = bench.floats({count}), m = bench.floats({count}),
                 v = bench.floats({count});
      const auto norm = bench.floats({1});
      fill(bench.backend, 0.f, v);
      fill(bench.backend, 1.f, norm);
      bench.against_bandwidth(28.0 * static_cast<double>(count),
                              [&] { adam(bench.backend, {.decayed = count}, g, norm, w, m, v); });
    });
  }
}

/// The matrices of a small model of width 64, and those of `base`, half of whose wide ones are transposed.
template <class Device>
void register_muon() {
  const auto measured = [](const char* name, index_type dim, int square, int wide) {
    measure<Device>(std::string("muon"), {name, 0, 0, dim, 0, 0, 0}, [=](auto& bench, const size& z) {
      std::vector<strata::matrix_place> places;
      const strata::muon_settings settings;
      index_type count = 0;
      double flops = 0;
      const auto add = [&](index_type rows, index_type columns) {
        places.push_back({count, rows, columns});
        count += rows * columns;
        flops += settings.flops(places.back());
      };
      for (int n = 0; n < square; ++n) add(z.dim, z.dim);
      for (int n = 0; n < wide; ++n) add(n % 2 == 0 ? z.dim : 4 * z.dim, n % 2 == 0 ? 4 * z.dim : z.dim);
      const auto g = bench.floats({count}), w = bench.floats({count}), m = bench.floats({count}),
                 v = bench.floats({count}), norm = bench.floats({1});
      fill(bench.backend, 1.f, norm);
      bench.against_peak(flops, [&] { muon(bench.backend, settings, places, g, norm, w, m, v); });
    });
  };
  measured("small", 64, 12, 6);
  measured("base", 512, 24, 12);
}

/// A quarter of the positions is routed.
template <class Device>
void register_routing() {
  for (const size& s : sizes) {
    measure<Device>("route", s, [=](auto& bench, const size& z) {
      const auto scores = bench.floats({z.batch, z.length}), budget = bench.floats({1, z.batch});
      const auto gate = bench.floats({z.batch, z.length / 4});
      const auto rows = bench.tokens({z.batch, z.length / 4});
      fill(bench.backend, 0.f, budget.flat());
      bench.against_bandwidth(4.0 * static_cast<double>(scores.size() + 2 * gate.size()),
                              [&] { route(bench.backend, 0.25, 1, index_type{0}, scores, budget, rows, gate); });
    });
    struct routed {
      view<token, 1> rows;
      view<float, 1> gate;
      view<float, 2> x, y;
      routed(workbench<Device>& bench, const size& z)
          : rows(bench.every_fourth(z.rows() / 4)),
            gate(bench.floats({z.rows() / 4})),
            x(bench.floats({z.rows() / 4, z.dim})),
            y(bench.floats({z.rows(), z.dim})) {}
    };
    measure<Device>("add_routed", s, [=](auto& bench, const size& z) {
      const routed own(bench, z);
      bench.against_bandwidth(12.0 * static_cast<double>(own.x.size()),
                              [&] { add_routed(bench.backend, own.rows, own.gate, own.x, own.y); });
    });
    measure<Device>("add_routed_backward", s, [=](auto& bench, const size& z) {
      const routed own(bench, z);
      const auto dx = bench.floats({z.rows() / 4, z.dim});
      const auto dscore = bench.floats({z.rows()});
      bench.against_bandwidth(12.0 * static_cast<double>(own.x.size()), [&] {
        add_routed_backward(bench.backend, own.rows, own.gate, own.x, own.y, dx, dscore);
      });
    });
  }
}

/// Other operations of generation, for 64 texts at once.
template <class Device>
void register_writing() {
  constexpr index_type texts = 64;
  for (const size& s : sizes) {
    measure<Device>("cross_attention_step", s, [=](auto& bench, const size& z) {
      const strata::cross_attention_shape shape{.batch = texts,
                                                .queries = 1,
                                                .query_stride = 1,
                                                .keys = z.span,
                                                .key_stride = 1,
                                                .heads = z.heads,
                                                .head_dim = z.head_dim,
                                                .span = z.span};
      const auto query = bench.floats({texts, shape.dim()}), y = bench.floats({texts, shape.dim()});
      const auto ring = bench.floats({texts, z.span, 2 * shape.dim()}), log_sum_exp = bench.floats({texts, z.heads, 1});
      const auto bias = bench.floats({z.heads, z.span});
      bench.against_bandwidth(4.0 * static_cast<double>(ring.size()), [&] {
        cross_attention_step(bench.backend, shape, z.span, query, ring, bias, y, log_sum_exp, strata::update::replace);
      });
    });
    measure<Device>("shift_step", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({texts, z.dim}), previous = bench.floats({texts, z.dim}),
                 y = bench.floats({texts, z.dim});
      bench.against_bandwidth(14.0 * static_cast<double>(x.size()), [&] { shift_step(bench.backend, x, previous, y); });
    });
    measure<Device>("keep_row", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({texts, z.dim});
      const auto ring = bench.floats({texts, z.span, z.dim});
      bench.against_bandwidth(8.0 * static_cast<double>(x.size()),
                              [&] { keep_row(bench.backend, x, index_type{1}, ring); });
    });
    measure<Device>("keep_last", s, [=](auto& bench, const size& z) {
      const auto x = bench.floats({z.batch, z.length, z.dim}), ring = bench.floats({z.batch, z.span, z.dim});
      bench.against_bandwidth(8.0 * static_cast<double>(ring.size()),
                              [&] { keep_last(bench.backend, x, 0, 1, index_type{0}, ring); });
    });
    measure<Device>("sample", s, [=](auto& bench, const size&) {
      const auto logits = bench.floats({texts, 256});
      const auto ids = bench.tokens({texts});
      bench.against_bandwidth(4.0 * static_cast<double>(logits.size()),
                              [&] { sample(bench.backend, {}, std::uint64_t{1}, logits, ids); });
    });
  }
}

/// All operations above.
template <class Device>
void register_operations() {
  register_products<Device>();
  register_attention<Device>();
  register_cross_attention<Device>();
  register_elementwise<Device>();
  register_others<Device>();
  register_muon<Device>();
  register_routing<Device>();
  register_writing<Device>();
}

}  // namespace measuring
