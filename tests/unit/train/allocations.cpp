// After the first step neither training nor generation allocates. What oneDNN allocates inside its products does not
// count: some ten small objects a product.
#include <cstdlib>

#include <strata/cpu.hpp>

#include "support/catch.hpp"
#include "support/models.hpp"

#if defined(__GLIBC__) && STRATA_HAS_ONEDNN
#include <atomic>
#include <dlfcn.h>
#include <vector>

namespace {

std::atomic<bool> counting{false};
std::atomic<long> allocations{0};
thread_local bool inside_onednn = false;

void count() {
  if (counting && !inside_onednn) ++allocations;
}

constexpr auto small_with_tables = strata::with(strata::presets::small, [](auto& d) {
  d.ngrams = {{.length = 2}, {.length = 3, .rows = 1000}};
});

/// Calls of the allocator, by any thread, while `work` runs.
template <class Work>
long allocations_of(Work work) {
  allocations = 0;
  counting = true;
  work();
  counting = false;
  return allocations;
}

}  // namespace

// These replace those of the libraries.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void* malloc(std::size_t bytes) {
  count();
  return __libc_malloc(bytes);
}
void* calloc(std::size_t elements, std::size_t bytes) {
  count();
  return __libc_calloc(elements, bytes);
}
void* realloc(void* old, std::size_t bytes) {
  count();
  return __libc_realloc(old, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** result, std::size_t alignment, std::size_t bytes) {
  count();
  *result = __libc_memalign(alignment, bytes);
  return *result == nullptr ? 12 : 0;  // ENOMEM
}
dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream, int count,
                                     const dnnl_exec_arg_t* arguments) {
  static const auto real =
      reinterpret_cast<decltype(&dnnl_primitive_execute)>(dlsym(RTLD_NEXT, "dnnl_primitive_execute"));
  inside_onednn = true;
  const dnnl_status_t status = real(primitive, stream, count, arguments);
  inside_onednn = false;
  return status;
}
}

TEST_CASE("allocations: a step after the first allocates nothing, with tables and Muon too") {
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    strata::cpu backend({.threads = threads});
    strata::training_options options;
    options.batch = 2;
    options.optimizer = strata::optimizer_kind::muon;
    strata::trainer<small_with_tables, strata::cpu> trainer(backend, options);
    std::vector<std::uint8_t> text(5000);
    for (std::size_t n = 0; n < text.size(); ++n) text[n] = static_cast<std::uint8_t>(n * n % 251);
    CHECK(allocations_of([&] { trainer.train_step(text); }) > 0);
    CHECK(allocations_of([&] { trainer.train_step(text); }) == 0);

    strata::generator writer(trainer.model());
    const strata::token id = 3;
    for (int t = 0; t < 5; ++t) writer.step({&id, {1}});
    CHECK(allocations_of([&] {
            for (int t = 0; t < 5; ++t) writer.step({&id, {1}});
          }) == 0);
  }
}
#endif
