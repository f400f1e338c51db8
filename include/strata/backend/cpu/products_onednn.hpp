// Products by oneDNN: one matmul primitive a shape, made once and kept; each call runs on one thread and our pool
// splits the rows. Weights are put into the layout that oneDNN asks for.
// Shapes: row-major matrices.
// Source: oneDNN developer guide, "MatMul" and "Memory format propagation".
#pragma once

#if !STRATA_HAS_ONEDNN
#error "strata: products_onednn.hpp needs oneDNN; link strata::strata configured with STRATA_ONEDNN=ON"
#endif

#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include <strata/backend/cpu/context.hpp>

// oneDNN's threads are OpenMP's. One declaration spares the user OpenMP's compiler flags.
extern "C" {
void omp_set_num_threads(int);
int omp_get_max_threads();
}

namespace strata {

class onednn_products {
 public:
  explicit onednn_products(int threads)
      : engine_(dnnl::engine::kind::cpu, 0), products_(static_cast<std::size_t>(threads)) {
    for (int thread = 0; thread < threads; ++thread) streams_.emplace_back(engine_);
  }

  /// y[R,N] = or += x[R,K] weight[N,K]^T + bias[N]
  void linear(cpu& backend, view<const float, 2> x, view<const float, 2> weight, view<const float, 1> bias,
              view<float, 2> y, update mode) {
    const index depth = x.shape[1], width = y.shape[1];
    backend.parallel_numbered(x.shape[0], weight.size(), [&](int thread, index begin, index end) {
      run(backend, thread, {end - begin, width, depth, depth, 1, 1, depth, bool(bias), mode == update::add},
          x.data + begin * depth, weight.data, bias.data, y.data + begin * width);
    });
  }
  /// dx[R,K] = or += dy[R,N] weight[N,K]
  void backward_input(cpu& backend, view<const float, 2> dy, view<const float, 2> weight, view<float, 2> dx,
                      update mode) {
    const index depth = dy.shape[1], width = dx.shape[1];
    backend.parallel_numbered(dy.shape[0], weight.size(), [&](int thread, index begin, index end) {
      run(backend, thread, {end - begin, width, depth, depth, 1, width, 1, false, mode == update::add},
          dy.data + begin * depth, weight.data, nullptr, dx.data + begin * width);
    });
  }
  /// dweight[N,K] += dy[R,N]^T x[R,K]; each thread computes some rows of dweight.
  void backward_weight(cpu& backend, view<const float, 2> dy, view<const float, 2> x, view<float, 2> dweight) {
    const auto [rows, width] = x.shape;
    const index outputs = dy.shape[1];
    backend.parallel_numbered(outputs, x.size(), [&, rows = rows, width = width](int thread, index begin, index end) {
      run(backend, thread, {end - begin, width, rows, 1, outputs, width, 1, false, true}, dy.data + begin, x.data,
          nullptr, dweight.data + begin * width);
    });
  }

 private:
  using memory = dnnl::memory;

  /// c[M,N] = or += a[M,K] b[K,N] + bias[N]; a and b with the distances between their rows and columns.
  struct key {
    index m, n, k, a_row, a_column, b_row, b_column;
    bool bias, add;
    auto operator<=>(const key&) const = default;
  };
  /// A primitive and its arguments, which only need their pointers set. Each thread has its own.
  struct product {
    dnnl::matmul primitive;
    dnnl::reorder packing;  ///< empty where b is used as it lies
    memory a, b, packed, bias, c;
    std::unordered_map<int, memory> arguments, packing_arguments;
  };

  /// oneDNN splits its work over OpenMP threads, but here one call belongs to one thread of our pool.
  class single_threaded {
   public:
    single_threaded() : outer_(omp_get_max_threads()) {
      if (outer_ != 1) omp_set_num_threads(1);
    }
    ~single_threaded() {
      if (outer_ != 1) omp_set_num_threads(outer_);
    }
    single_threaded(const single_threaded&) = delete;
    single_threaded& operator=(const single_threaded&) = delete;

   private:
    int outer_;
  };

  static memory::desc plain(index rows, index columns, index row_step, index column_step) {
    return {{rows, columns}, memory::data_type::f32, {row_step, column_step}};
  }

  dnnl::matmul::primitive_desc describe(const key& k) const {
    const memory::desc a = plain(k.m, k.k, k.a_row, k.a_column), c = plain(k.m, k.n, k.n, 1);
    const memory::desc b({k.k, k.n}, memory::data_type::f32, memory::format_tag::any);
    const memory::desc bias = plain(1, k.n, k.n, 1);
    dnnl::primitive_attr attributes;
    if (k.add) {
      dnnl::post_ops sum;
      sum.append_sum(1.f);
      attributes.set_post_ops(sum);
    }
#if DNNL_VERSION_MAJOR >= 3
    if (k.bias) return {engine_, a, b, bias, c, attributes};
    return {engine_, a, b, c, attributes};
#else
    if (k.bias) return {{a, b, bias, c}, attributes, engine_};
    return {{a, b, c}, attributes, engine_};
#endif
  }

  product& prepared(int thread, const key& k) {
    auto& made = products_[static_cast<std::size_t>(thread)];
    if (const auto found = made.find(k); found != made.end()) return found->second;
    const auto description = describe(k);
    const memory::desc b = plain(k.k, k.n, k.b_row, k.b_column);
    product& p = made[k];
    p.primitive = dnnl::matmul(description);
    p.a = memory(description.src_desc(), engine_, nullptr);
    p.b = memory(b, engine_, nullptr);
    p.packed = memory(description.weights_desc(), engine_, nullptr);
    p.c = memory(description.dst_desc(), engine_, nullptr);
    p.arguments = {{DNNL_ARG_SRC, p.a}, {DNNL_ARG_WEIGHTS, p.packed}, {DNNL_ARG_DST, p.c}};
    if (k.bias) {
      p.bias = memory(description.bias_desc(), engine_, nullptr);
      p.arguments.emplace(DNNL_ARG_BIAS, p.bias);
    }
    if (description.weights_desc() != b) {
      p.packing = dnnl::reorder(p.b, p.packed);
      p.packing_arguments = {{DNNL_ARG_FROM, p.b}, {DNNL_ARG_TO, p.packed}};
    }
    return p;
  }

  void run(cpu& backend, int thread, const key& k, const float* a, const float* b, const float* bias, float* c) {
    if (k.m == 0) return;
    const single_threaded guard;
    product& p = prepared(thread, k);
    dnnl::stream& stream = streams_[static_cast<std::size_t>(thread)];
    p.a.set_data_handle(const_cast<float*>(a));
    p.c.set_data_handle(c);
    if (k.bias) p.bias.set_data_handle(const_cast<float*>(bias));
    if (p.packing) {
      const auto floats = static_cast<index>(p.packed.get_desc().get_size() / sizeof(float));
      p.b.set_data_handle(const_cast<float*>(b));
      p.packed.set_data_handle(backend.thread_memory(thread, floats));
      p.packing.execute(stream, p.packing_arguments);
    } else {
      p.packed.set_data_handle(const_cast<float*>(b));
    }
    p.primitive.execute(stream, p.arguments);
  }

  dnnl::engine engine_;
  std::vector<dnnl::stream> streams_;
  std::vector<std::map<key, product>> products_;
};

}  // namespace strata
