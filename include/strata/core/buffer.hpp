// Host memory that a backend owns: aligned, zeroed, on huge pages if the system has them.
// Source: madvise(2), MADV_HUGEPAGE; mallopt(3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include <strata/core/error.hpp>
#include <strata/core/view.hpp>

#if defined(__linux__)
#include <malloc.h>
#include <sys/mman.h>
#endif

namespace strata::inline STRATA_ABI {

/// The error message for an allocation that failed.
inline std::string out_of_memory(std::uint64_t count, std::size_t element) {
  if (count > PTRDIFF_MAX / element)
    return to_text(count, " elements of ", element, " bytes were asked for, more than a memory can hold");
  return to_text(count * element, " bytes of memory were asked for, more than there is");
}

/// Owns `count` elements, zeroed. Large buffers start at a 2 MB boundary and ask for huge pages: the first touch of a
/// 4 KB page costs more than all arithmetic on it.
template <class T>
class buffer {
 public:
  buffer() = default;
  explicit buffer(index_type count) : size_(count) {
    require(count >= 0, "a buffer of ", count, " elements");
    if (count == 0) return;
    if (static_cast<std::size_t>(count) > (PTRDIFF_MAX - huge_page) / sizeof(T)) refuse();
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    const std::size_t alignment = bytes >= huge_page ? huge_page : 64;
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    data_ = static_cast<T*>(std::aligned_alloc(alignment, rounded));
    if (data_ == nullptr) refuse();
#if defined(__linux__)
    if (alignment == huge_page) madvise(data_, rounded, MADV_HUGEPAGE);
#endif
    std::memset(static_cast<void*>(data_), 0, rounded);
  }
  buffer(buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  buffer& operator=(buffer&& other) noexcept {
    buffer taken(std::move(other));  // `other` is empty afterwards, also if this object held memory
    std::swap(data_, taken.data_);
    std::swap(size_, taken.size_);
    return *this;
  }
  ~buffer() { std::free(data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  index_type size() const { return size_; }
  strata::view<T, 1> view() { return {data_, {size_}}; }
  strata::view<const T, 1> view() const { return {data_, {size_}}; }

 private:
  [[noreturn]] void refuse() const { fail(out_of_memory(static_cast<std::uint64_t>(size_), sizeof(T))); }

  static constexpr std::size_t huge_page = std::size_t{1} << 21;
  T* data_ = nullptr;
  index_type size_ = 0;
};

/// Lets malloc keep freed memory. Then the temporary buffers of a matrix product do not cost a first touch at every
/// call. For programs: the library never calls it.
inline void keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace strata
