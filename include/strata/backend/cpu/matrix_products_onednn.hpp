// Matrix products by oneDNN: one matmul primitive a shape, made once and kept while in use. Each call runs on one
// thread, and strata's pool splits the result. Inputs are converted to the fast layout and, if wanted, to bfloat16.
// Shapes: row-major matrices.
// Source: oneDNN developer guide, "MatMul", "Memory format propagation" and "Managing scratchpads".
#pragma once

#if !STRATA_HAS_ONEDNN
#error "strata: matrix_products_onednn.hpp needs oneDNN; link strata::strata configured with STRATA_ONEDNN=ON"
#endif

#include <algorithm>
#include <cstdint>
#include <deque>
#include <dlfcn.h>
#include <exception>
#include <map>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <oneapi/dnnl/dnnl_debug.h>
#include <string>
#include <sys/mman.h>
#include <utility>
#include <vector>

#include <strata/backend/cpu/context.hpp>
#include <strata/backend/cpu/signals.hpp>

#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_TBB
#include <tbb/task_arena.h>
#endif

namespace strata::inline STRATA_ABI {

/// oneDNN and OpenMP do not check all their allocations: require more free memory than they take.
inline void require_room() {
  constexpr std::size_t bytes = std::size_t{16} << 20;
  void* const room = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) throw std::bad_alloc();
  munmap(room, bytes);
}

/// oneDNN splits a call over the threads of its threading library. Here a call belongs to one thread of strata's pool,
/// so that library is limited to one.
class onednn_threads {
 public:
  explicit onednn_threads([[maybe_unused]] int threads) {
    const std::string trouble = problem();
    require(trouble.empty(), trouble);
    if (runtime() == DNNL_RUNTIME_OMP) {
      most_ = openmp<int (*)()>("omp_get_max_threads");
      set_ = openmp<void (*)(int)>("omp_set_num_threads");
    }
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_TBB
    if (runtime() == DNNL_RUNTIME_TBB)
      for (int thread = 0; thread < threads; ++thread) arenas_.emplace_back(1);
#endif
  }

  /// Why oneDNN cannot stay on one thread; empty if it can.
  static std::string problem() {
    // Without a pool from the program, a stream stays on its thread.
    if (runtime() == DNNL_RUNTIME_SEQ || runtime() == DNNL_RUNTIME_THREADPOOL) return "";
    if (runtime() == DNNL_RUNTIME_OMP)
      return openmp<void*>("omp_get_max_threads") && openmp<void*>("omp_set_num_threads")
                 ? ""
                 : "oneDNN's threads are OpenMP's, but this program has no function omp_set_num_threads";
    if (runtime() == DNNL_RUNTIME_TBB)
      return DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_TBB
                 ? ""
                 : "oneDNN's threads are TBB's, but this program was compiled for a oneDNN with others";
    return to_text("oneDNN's threads are of a kind that strata does not know: ", runtime());
  }

  /// Calls `work()` with oneDNN limited to the calling thread: `thread` of the pool.
  template <class Work>
  void alone([[maybe_unused]] int thread, Work work) {
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_TBB
    if (!arenas_.empty()) return arenas_[static_cast<std::size_t>(thread)].execute(work);
#endif
    const one_openmp_thread one(*this);
    work();
  }

 private:
  class one_openmp_thread {
   public:
    explicit one_openmp_thread(const onednn_threads& threads)
        : set_(threads.set_), outer_(set_ == nullptr ? 1 : threads.most_()) {
      if (outer_ == 1) return;
      // OpenMP allocates when a thread sets its number first, and ends the program if it cannot.
      static thread_local bool known = false;
      if (!known) require_room();
      known = true;
      set_(1);
    }
    ~one_openmp_thread() {
      if (outer_ != 1) set_(outer_);
    }
    one_openmp_thread(const one_openmp_thread&) = delete;
    one_openmp_thread& operator=(const one_openmp_thread&) = delete;

   private:
    void (*set_)(int);
    int outer_;
  };

  static unsigned runtime() { return dnnl_version()->cpu_runtime; }
  /// A function of oneDNN's OpenMP library, looked up in the running program.
  template <class Function>
  static Function openmp(const char* name) {
    return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
  }

  int (*most_)() = nullptr;
  void (*set_)(int) = nullptr;
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_TBB
  std::deque<tbb::task_arena> arenas_;
#endif
};

/// One object a backend; each thread has its own primitives.
class onednn_products {
 public:
  /// Most primitives of a thread; the least recently used goes first. A training step of two levels uses 46, but a
  /// server always meets new shapes. oneDNN keeps another 1024 for the whole process: ONEDNN_PRIMITIVE_CACHE_CAPACITY
  /// says how many.
  static constexpr std::size_t most_kept = 512;

  onednn_products(int threads, bool bfloat16) try
      : type_(bfloat16 ? memory::data_type::bf16 : memory::data_type::f32),
        threads_(threads),
        engine_(dnnl::engine::kind::cpu, 0),
        products_(static_cast<std::size_t>(threads)) {
    for (int thread = 0; thread < threads; ++thread) streams_.emplace_back(engine_);
  } catch (const dnnl::error& problem) {
    fail("oneDNN could not be started: ", problem.message);
  }
  /// Whether this processor multiplies bfloat16 itself; else oneDNN would be slower than in float.
  static bool has_bfloat16() { return has(dnnl::cpu_isa::avx512_core_bf16); }
  /// Makes the calling thread, `thread` of the pool, known to oneDNN's threading library.
  void enter(int thread) {
    threads_.alone(thread, [] {});
  }
  /// How many primitives thread `thread` keeps.
  std::size_t kept(int thread) const { return products_[static_cast<std::size_t>(thread)].kept.size(); }

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
  /// A primitive with its arguments, which only need their pointers set.
  struct call {
    dnnl::primitive primitive;  // empty: nothing to do
    memory scratch;
    std::vector<dnnl_exec_arg_t> arguments;
    /// Through the C interface: the C++ one allocates at every call.
    void operator()(const dnnl::stream& stream) const {
      dnnl::error::wrap_c_api(
          dnnl_primitive_execute(primitive.get(), stream.get(), static_cast<int>(arguments.size()), arguments.data()),
          "oneDNN could not run it");
    }
  };
  /// An input in the caller's layout, and in the primitive's.
  struct operand {
    memory given, wanted;
    call packing;  // empty where the input is used in place
    index_type packed_floats = 0;
  };
  struct product {
    call matmul;
    operand a, b;
    memory bias, c;
    index_type scratch_floats = 0;
    std::uint64_t last_use = 0;
  };
  struct alignas(64) own_products {
    std::map<key, product> kept;
    std::uint64_t uses = 0;
  };

  static memory::desc plain(index_type rows, index_type columns, index_type row_step, index_type column_step) {
    return {{rows, columns}, memory::data_type::f32, {row_step, column_step}};
  }

  static bool has(dnnl::cpu_isa isa) {
    const auto wanted = static_cast<unsigned>(isa);  // a set of bits
    return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
  }

  /// Without AVX-512, oneDNN multiplies small matrices in place, at half speed if rows are a multiple of 512 bytes
  /// apart: they share few sets of the cache. A copy with wider rows costs less. The bounds are from products of 64 to
  /// 2048 in each direction.
  static bool wants_space(const key& k) { return k.m * k.n <= 512 * 512 && (k.n >= 256 || k.a_row == 1); }
  /// [R,C] with distances between rows and columns; one of the distances is 1.
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
    dnnl::primitive_attr attributes = with_our_scratch();
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

  /// Strata provides the scratch memory: oneDNN does not check its own allocation.
  static dnnl::primitive_attr with_our_scratch() {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attributes;
  }
  /// Whole cache lines, so that the next buffer is aligned too.
  static index_type floats_of(const memory& x) {
    return (static_cast<index_type>(x.get_desc().get_size() / sizeof(float)) + 32) / 16 * 16;
  }

  template <class Primitive>
  call prepared_call(const typename Primitive::primitive_desc& description,
                     std::vector<dnnl_exec_arg_t> arguments) const {
    call own{Primitive(description), memory(description.scratchpad_desc(), engine_, nullptr), std::move(arguments)};
    own.arguments.push_back({DNNL_ARG_SCRATCHPAD, own.scratch.get()});
    return own;
  }

  operand prepared_operand(const memory::desc& given, const memory::desc& wanted) const {
    operand own;
    own.given = memory(given, engine_, nullptr);
    own.wanted = memory(wanted, engine_, nullptr);
    if (given == wanted) return own;
    own.packing = prepared_call<dnnl::reorder>({engine_, given, engine_, wanted, with_our_scratch()},
                                               {{DNNL_ARG_FROM, own.given.get()}, {DNNL_ARG_TO, own.wanted.get()}});
    own.packed_floats = floats_of(own.wanted);
    return own;
  }

  product prepared_product(const key& k) const {
    require_room();
    const auto description = describe(k);
    product p;
    p.a = prepared_operand(plain(k.m, k.k, k.a_row, k.a_column), description.src_desc());
    p.b = prepared_operand(plain(k.k, k.n, k.b_row, k.b_column), description.weights_desc());
    p.c = memory(description.dst_desc(), engine_, nullptr);
    std::vector<dnnl_exec_arg_t> arguments = {
        {DNNL_ARG_SRC, p.a.wanted.get()}, {DNNL_ARG_WEIGHTS, p.b.wanted.get()}, {DNNL_ARG_DST, p.c.get()}};
    if (k.bias) {
      p.bias = memory(description.bias_desc(), engine_, nullptr);
      arguments.push_back({DNNL_ARG_BIAS, p.bias.get()});
    }
    p.matmul = prepared_call<dnnl::matmul>(description, std::move(arguments));
    for (const call* each : {&p.matmul, &p.a.packing, &p.b.packing})
      if (each->primitive) p.scratch_floats = std::max(p.scratch_floats, floats_of(each->scratch));
    return p;
  }

  product& prepared(int thread, const key& k) {
    auto& [kept, uses] = products_[static_cast<std::size_t>(thread)];
    auto found = kept.find(k);
    if (found == kept.end()) {
      if (kept.size() == most_kept)
        kept.erase(std::min_element(kept.begin(), kept.end(), [](const auto& one, const auto& other) {
          return one.second.last_use < other.second.last_use;
        }));
      found = kept.emplace(k, prepared_product(k)).first;
    }
    found->second.last_use = ++uses;
    return found->second;
  }

  /// Points at the input, or at `packed` after packing it there.
  static void set(operand& own, const dnnl::stream& stream, const float* given, float* packed, float* scratch) {
    own.given.set_data_handle(const_cast<float*>(given));
    own.wanted.set_data_handle(own.packing.primitive ? packed : const_cast<float*>(given));
    if (!own.packing.primitive) return;
    own.packing.scratch.set_data_handle(scratch);
    own.packing(stream);
  }

  [[noreturn]] static void fail_product(const key& k, const std::string& problem) {
    fail("oneDNN could not multiply [", k.m, ",", k.k, "] by [", k.k, ",", k.n, "]: ", problem);
  }

  /// Threads split the longer side of c, so each packs all of the smaller input. With AVX-512 they split rows: so c, b
  /// and bias stay dense, as oneDNN's kernels may want them.
  void multiply(cpu& backend, const key& whole, const float* a, const float* b, const float* bias, float* c) {
    if (whole.m == 0 || whole.n == 0) return;
    const bool by_columns = whole.n >= whole.m && !avx512_;
    const index_type count = by_columns ? whole.n : whole.m;
    try {
      backend.parallel_numbered(
          count, whole.m * whole.n / count * whole.k, [&](int thread, index_type begin, index_type end) {
            key part = whole;
            (by_columns ? part.n : part.m) = end - begin;
            threads_.alone(thread, [&] {
              if (by_columns)
                run(backend, thread, part, a, b + begin * whole.b_column, bias ? bias + begin : nullptr, c + begin);
              else
                run(backend, thread, part, a + begin * whole.a_row, b, bias, c + begin * whole.c_row);
            });
          });
    } catch (const dnnl::error& problem) {
      fail_product(whole, to_text(problem.message, " (", dnnl_status2str(problem.status), ")"));
    } catch (const std::exception& problem) {
      fail_product(whole, problem.what());
    }
  }

  void run(cpu& backend, int thread, const key& k, const float* a, const float* b, const float* bias, float* c) {
    if (k.m == 0 || k.n == 0) return;
    product& p = prepared(thread, k);
    const dnnl::stream& stream = streams_[static_cast<std::size_t>(thread)];
    const auto [packed_a, packed_b, scratch] =
        backend.thread_pieces<3>(thread, {p.a.packed_floats, p.b.packed_floats, p.scratch_floats});
    const signals_wait undisturbed;
    set(p.a, stream, a, packed_a, scratch);
    set(p.b, stream, b, packed_b, scratch);
    p.c.set_data_handle(c);
    if (k.bias) p.bias.set_data_handle(const_cast<float*>(bias));
    p.matmul.scratch.set_data_handle(scratch);
    p.matmul(stream);
  }

  memory::data_type type_;
  bool avx512_ = has(dnnl::cpu_isa::avx512_core);
  onednn_threads threads_;
  dnnl::engine engine_;
  std::vector<dnnl::stream> streams_;
  std::vector<own_products> products_;
};

}  // namespace strata
