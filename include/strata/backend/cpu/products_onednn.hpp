// Products by oneDNN: one matmul primitive a shape, made once and kept; each call runs on one thread and our pool
// splits the result. Inputs are put into the layout that is fast, and into bfloat16 where that is asked for.
// Shapes: row-major matrices.
// Source: oneDNN developer guide, "MatMul" and "Memory format propagation".
#pragma once

#if !STRATA_HAS_ONEDNN
#error "strata: products_onednn.hpp needs oneDNN; link strata::strata configured with STRATA_ONEDNN=ON"
#endif

#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <pthread.h>
#include <signal.h>
#include <utility>
#include <vector>

#include <strata/backend/cpu/context.hpp>

// oneDNN's threads are OpenMP's. One declaration spares the user OpenMP's compiler flags.
extern "C" {
void omp_set_num_threads(int);
int omp_get_max_threads();
}

namespace strata::inline STRATA_ABI {

class onednn_products {
 public:
  onednn_products(int threads, bool bfloat16)
      : type_(bfloat16 ? memory::data_type::bf16 : memory::data_type::f32),
        engine_(dnnl::engine::kind::cpu, 0),
        products_(static_cast<std::size_t>(threads)) {
    for (int thread = 0; thread < threads; ++thread) streams_.emplace_back(engine_);
  }
  /// Whether this processor multiplies bfloat16 itself; elsewhere oneDNN would be slower than in float.
  static bool has_bfloat16() { return has(dnnl::cpu_isa::avx512_core_bf16); }

  /// y[R,N] = or += x[R,K] weight[N,K]^T + bias[N]
  void linear(cpu& backend, view<const float, 2> x, view<const float, 2> weight, view<const float, 1> bias,
              view<float, 2> y, update mode) {
    const auto [rows, depth] = x.shape;
    const index_type width = y.shape[1];
    multiply(backend, {rows, width, depth, depth, 1, 1, depth, width, bool(bias), mode == update::add}, x.data,
             weight.data, bias.data, y.data);
  }
  /// dx[R,K] = or += dy[R,N] weight[N,K]
  void backward_input(cpu& backend, view<const float, 2> dy, view<const float, 2> weight, view<float, 2> dx,
                      update mode) {
    const auto [rows, depth] = dy.shape;
    const index_type width = dx.shape[1];
    multiply(backend, {rows, width, depth, depth, 1, width, 1, width, false, mode == update::add}, dy.data, weight.data,
             nullptr, dx.data);
  }
  /// dweight[N,K] += dy[R,N]^T x[R,K]
  void backward_weight(cpu& backend, view<const float, 2> dy, view<const float, 2> x, view<float, 2> dweight) {
    const auto [depth, rows] = dy.shape;
    const index_type width = x.shape[1];
    multiply(backend, {rows, width, depth, 1, rows, width, 1, width, false, true}, dy.data, x.data, nullptr,
             dweight.data);
  }

 private:
  using memory = dnnl::memory;

  /// c[M,N] = or += a[M,K] b[K,N] + bias[N], with the distances between rows and between columns.
  struct key {
    index_type m, n, k, a_row, a_column, b_row, b_column, c_row;
    bool bias, add;
    auto operator<=>(const key&) const = default;
  };
  /// A primitive with its arguments, which only need their pointers set. Through the C interface: the C++ one allocates
  /// at every call.
  template <class Primitive>
  struct call {
    Primitive primitive;  // empty: nothing to do
    std::vector<dnnl_exec_arg_t> arguments;
    void operator()(const dnnl::stream& stream) const {
      dnnl::error::wrap_c_api(
          dnnl_primitive_execute(primitive.get(), stream.get(), static_cast<int>(arguments.size()), arguments.data()),
          "oneDNN could not run a product");
    }
  };
  /// An input where the caller has it, and as the primitive wants it.
  struct operand {
    memory given, wanted;
    call<dnnl::reorder> packing;  // empty where it is used as it lies
    index_type packed_floats = 0;
  };
  /// Each thread has its own.
  struct product {
    call<dnnl::matmul> matmul;
    operand a, b;
    memory bias, c;
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

  /// While a product runs, signals wait: up to 3.11 some of oneDNN's kernels point the stack register at memory of the
  /// heap, where the system would then put the frame of the handler (oneDNN's issue 4845).
  class signals_wait {
   public:
    signals_wait() {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &outer_);
    }
    ~signals_wait() { pthread_sigmask(SIG_SETMASK, &outer_, nullptr); }
    signals_wait(const signals_wait&) = delete;
    signals_wait& operator=(const signals_wait&) = delete;

   private:
    sigset_t outer_;
  };

  static memory::desc plain(index_type rows, index_type columns, index_type row_step, index_type column_step) {
    return {{rows, columns}, memory::data_type::f32, {row_step, column_step}};
  }

  static bool has(dnnl::cpu_isa isa) {
    const auto wanted = static_cast<unsigned>(isa);  // a set of bits
    return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
  }

  /// Without AVX-512, oneDNN multiplies small products where they lie, at half its speed if rows lie a multiple of 512
  /// bytes apart: few sets of the cache can hold them. A copy with more space between the rows costs less. The bounds
  /// are from products of 64 to 2048 in each direction.
  static bool wants_space(const key& k) { return k.m * k.n <= 512 * 512 && (k.n >= 256 || k.a_row == 1); }
  /// [R,C] with distances between rows and columns of which one is 1.
  static memory::desc spaced(index_type rows, index_type columns, index_type row_step, index_type column_step) {
    const auto next = [](index_type length, index_type step) {
      return step % 128 != 0 ? step : length % 128 == 0 ? length + 16 : length;
    };
    return plain(rows, columns, next(columns, row_step), next(rows, column_step));
  }

  dnnl::matmul::primitive_desc describe(const key& k) const {
    memory::desc a({k.m, k.k}, type_, memory::format_tag::any), b({k.k, k.n}, type_, memory::format_tag::any);
    if (type_ == memory::data_type::f32) a = plain(k.m, k.k, k.a_row, k.a_column);
    if (!avx512_) {
      b = plain(k.k, k.n, k.b_row, k.b_column);
      if (wants_space(k)) {
        a = spaced(k.m, k.k, k.a_row, k.a_column);
        b = spaced(k.k, k.n, k.b_row, k.b_column);
      }
    }
    const memory::desc c = plain(k.m, k.n, k.c_row, 1), bias = plain(1, k.n, k.n, 1);
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

  operand prepared_operand(const memory::desc& given, const memory::desc& wanted) const {
    operand own;
    own.given = memory(given, engine_, nullptr);
    own.wanted = memory(wanted, engine_, nullptr);
    if (given == wanted) return own;
    own.packing.primitive = dnnl::reorder(own.given, own.wanted);
    own.packing.arguments = {{DNNL_ARG_FROM, own.given.get()}, {DNNL_ARG_TO, own.wanted.get()}};
    // Whole cache lines, so that what follows it is aligned too.
    own.packed_floats = (static_cast<index_type>(wanted.get_size() / sizeof(float)) + 32) / 16 * 16;
    return own;
  }

  product& prepared(int thread, const key& k) {
    auto& made = products_[static_cast<std::size_t>(thread)];
    if (const auto found = made.find(k); found != made.end()) return found->second;
    const auto description = describe(k);
    product p;
    p.matmul.primitive = dnnl::matmul(description);
    p.a = prepared_operand(plain(k.m, k.k, k.a_row, k.a_column), description.src_desc());
    p.b = prepared_operand(plain(k.k, k.n, k.b_row, k.b_column), description.weights_desc());
    p.c = memory(description.dst_desc(), engine_, nullptr);
    p.matmul.arguments = {
        {DNNL_ARG_SRC, p.a.wanted.get()}, {DNNL_ARG_WEIGHTS, p.b.wanted.get()}, {DNNL_ARG_DST, p.c.get()}};
    if (k.bias) {
      p.bias = memory(description.bias_desc(), engine_, nullptr);
      p.matmul.arguments.push_back({DNNL_ARG_BIAS, p.bias.get()});
    }
    return made.emplace(k, std::move(p)).first->second;
  }

  /// Points at the input, or at `packed` after packing it there.
  static void set(operand& own, const dnnl::stream& stream, const float* given, float* packed) {
    own.given.set_data_handle(const_cast<float*>(given));
    own.wanted.set_data_handle(own.packing.primitive ? packed : const_cast<float*>(given));
    if (own.packing.primitive) own.packing(stream);
  }

  /// Threads share the longer side of c: what each must pack for itself is then the smaller of the inputs. With AVX-512
  /// they share rows, so that all of c, b and bias are dense, as oneDNN's kernels for it may want them.
  void multiply(cpu& backend, const key& whole, const float* a, const float* b, const float* bias, float* c) {
    const bool by_columns = whole.n >= whole.m && !avx512_;
    const index_type count = by_columns ? whole.n : whole.m;
    backend.parallel_numbered(
        count, whole.m * whole.n / count * whole.k, [&](int thread, index_type begin, index_type end) {
          key part = whole;
          (by_columns ? part.n : part.m) = end - begin;
          if (by_columns)
            run(backend, thread, part, a, b + begin * whole.b_column, bias ? bias + begin : nullptr, c + begin);
          else
            run(backend, thread, part, a + begin * whole.a_row, b, bias, c + begin * whole.c_row);
        });
  }

  void run(cpu& backend, int thread, const key& k, const float* a, const float* b, const float* bias, float* c) {
    if (k.m == 0 || k.n == 0) return;
    const single_threaded one_thread;
    product& p = prepared(thread, k);
    const dnnl::stream& stream = streams_[static_cast<std::size_t>(thread)];
    float* packed = backend.thread_memory(thread, p.a.packed_floats + p.b.packed_floats);
    set(p.a, stream, a, packed);
    set(p.b, stream, b, packed + p.a.packed_floats);
    p.c.set_data_handle(c);
    if (k.bias) p.bias.set_data_handle(const_cast<float*>(bias));
    const signals_wait undisturbed;
    p.matmul(stream);
  }

  memory::data_type type_;
  bool avx512_ = has(dnnl::cpu_isa::avx512_core);
  dnnl::engine engine_;
  std::vector<dnnl::stream> streams_;
  std::vector<std::map<key, product>> products_;
};

}  // namespace strata
