// Tokens in a file: bytes, or whole numbers as nanoGPT and llm.c write them.
// Source: https://github.com/karpathy/nanoGPT (raw uint16), https://github.com/karpathy/llm.c, dev/data/data_common.py
// (the header).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <strata/core/buffer.hpp>
#include <strata/core/error.hpp>
#include <strata/core/named_kind.hpp>
#include <strata/core/platform.hpp>
#include <strata/core/view.hpp>
#include <strata/io/file.hpp>

namespace strata::inline STRATA_ABI {

/// How a file holds its tokens. Numbers are little-endian.
enum class token_format { bytes, uint16, uint32 };
constexpr std::array<std::string_view, 3> names_of(token_format) { return {"bytes", "uint16", "uint32"}; }
constexpr std::size_t bytes_of(token_format format) {
  return format == token_format::bytes ? 1 : format == token_format::uint16 ? 2 : 4;
}

/// The header of llm.c: 256 numbers of 32 bits. The first is a mark, the second the version, the third the number of
/// tokens that follow.
struct llm_c_header {
  static constexpr std::size_t numbers = 256, bytes = 4 * numbers;
  struct kind {
    std::int32_t mark, version;
    token_format format;
  };
  static constexpr std::array kinds{kind{20240520, 1, token_format::uint16}, kind{20240801, 7, token_format::uint32}};

  /// The kind of header with which a file starts; null if it has none.
  static const kind* at_start_of(const file_reader& file) {
    if (file.size() < bytes) return nullptr;
    const std::int32_t mark = number(file, 0);
    const auto found = std::ranges::find(kinds, mark, &kind::mark);
    return found == kinds.end() ? nullptr : &*found;
  }
  static std::int32_t number(const file_reader& file, std::size_t n) {
    std::int32_t value = 0;
    file.read(4 * n, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
};

/// The tokens of a file, which is read where they are needed. It may be larger than memory.
class token_file {
 public:
  token_file(const std::filesystem::path& path, token_format format) : token_file(file_reader(path), format) {}
  token_file(file_reader file, token_format format) : file_(std::move(file)), format_(format) {
    const std::uint64_t width = bytes_of(format_);
    std::uint64_t bytes = file_.size();
    if (format_ != token_format::bytes)
      if (const llm_c_header::kind* header = llm_c_header::at_start_of(file_)) {
        require_header(*header);
        offset_ = llm_c_header::bytes;
        bytes -= offset_;
      }
    require(bytes % width == 0, file_.name(), ": its ", bytes, " bytes", offset_ > 0 ? " after the header" : "",
            " are no whole number of ", name_of(format_), " tokens");
    require(bytes > 0, file_.name(), ": the text is empty");
    size_ = static_cast<index_type>(bytes / width);
    if (offset_ > 0) {
      const std::int32_t count = llm_c_header::number(file_, 2);
      require(count == size_, file_.name(), ": its header counts ", count, " tokens, but ", size_, " follow");
    }
  }

  const std::string& name() const { return file_.name(); }
  const file_reader& reader() const { return file_; }
  token_format format() const { return format_; }
  /// The number of tokens.
  index_type size() const { return size_; }

  /// Fills `ids` with the tokens from number `first` on. All must be less than `vocabulary`.
  void copy(index_type first, std::span<token> ids, int vocabulary) const {
    require(first >= 0 && static_cast<index_type>(ids.size()) <= size_ - first, name(), ": tokens ", first, " to ",
            first + static_cast<index_type>(ids.size()), " are not in a file of ", size_);
    if (format_ == token_format::bytes) return copy_as<std::uint8_t>(first, ids, vocabulary);
    if (format_ == token_format::uint16) return copy_as<std::uint16_t>(first, ids, vocabulary);
    copy_as<std::uint32_t>(first, ids, vocabulary);
  }

 private:
  void require_header(const llm_c_header::kind& header) const {
    require(header.format == format_, name(), ": its header says ", name_of(header.format), " tokens, not ",
            name_of(format_));
    const std::int32_t version = llm_c_header::number(file_, 1);
    require(version == header.version, name(), ": its header has version ", version, "; known is ", header.version);
  }
  template <class Number>
  void copy_as(index_type first, std::span<token> ids, int vocabulary) const {
    // Large enough for one read of a row.
    std::array<Number, 2048> numbers;
    while (!ids.empty()) {
      const std::size_t count = std::min(ids.size(), numbers.size());
      const std::span<Number> part(numbers.data(), count);
      file_.read(offset_of(first), std::as_writable_bytes(part));
      for (std::size_t n = 0; n < count; ++n) {
        if (part[n] >= static_cast<std::uint32_t>(vocabulary))
          fail_on(first + static_cast<index_type>(n), part[n], vocabulary);
        ids[n] = static_cast<token>(part[n]);
      }
      first += static_cast<index_type>(count);
      ids = ids.subspan(count);
    }
  }
  std::uint64_t offset_of(index_type number) const {
    return offset_ + static_cast<std::uint64_t>(number) * bytes_of(format_);
  }
  [[noreturn]] void fail_on(index_type number, std::uint32_t value, int vocabulary) const {
    fail(name(), ": token ", number, ", at byte ", offset_of(number), ", is ", value, ", outside of the vocabulary of ",
         vocabulary);
  }

  file_reader file_;
  token_format format_;
  std::uint64_t offset_ = 0;  // of the first token, in bytes
  index_type size_ = 0;
};

}  // namespace strata
