// The compressed file. All numbers are little-endian; a check is an XXH3 of 64 bits.
//
//   "strata c"  8 bytes
//   header      u32 length, JSON, u64 check of all bytes so far
//   blocks      u32 bytes, u32 bytes when coded, u64 XXH3 of the bytes; the coded bytes; u64 check of the record
//   end         u32 0, u32 0, u64 XXH3 of the whole original; u64 bytes of the original; u64 check of the record
//
// The check of a record begins with the check before it, so blocks cannot change places.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <strata/io/file.hpp>

namespace compress_text {

inline constexpr std::string_view mark = "strata c";
inline constexpr int format = 1;

/// Reads a file, a pipe or, as "-", standard input, once and from front to back.
class source {
 public:
  explicit source(const std::string& path);

  const std::string& name() const { return name_; }
  /// Its bytes, if it is a file.
  std::optional<std::uint64_t> size() const { return size_; }
  /// Fills `target` as far as the source reaches; returns how many bytes it read.
  std::size_t read(std::span<std::uint8_t> target);
  /// Starts again from the front. Only of a file.
  void rewind();

 private:
  std::string name_;
  strata::detail::file_descriptor owned_;
  int descriptor_ = 0;
  std::optional<std::uint64_t> size_;
};

/// Thrown when the user has asked the program to end.
struct interruption {};

struct block_record {
  std::uint32_t bytes = 0, coded_bytes = 0;
  std::uint64_t sum = 0;  // of the bytes
};

/// Writes the records of a compressed file.
class record_writer {
 public:
  explicit record_writer(strata::file_output& output) : output_(&output) {}
  void header(const nlohmann::json& header);
  void block(const block_record& record, std::span<const std::uint8_t> coded);
  void end(std::uint64_t bytes, std::uint64_t sum);
  /// Bytes written so far.
  std::uint64_t position() const { return position_; }

 private:
  void put(std::span<const std::byte> bytes);

  strata::file_output* output_;
  std::uint64_t position_ = 0, check_ = 0;
};

/// Reads them back. What is missing or altered is an error that names the file, and the byte up to which it is good.
class record_reader {
 public:
  explicit record_reader(source& from) : source_(&from) {}
  nlohmann::json header();
  /// The next block; `coded` becomes its coded bytes. False at the end: then bytes() and sum() are known.
  bool block(block_record& record, std::vector<std::uint8_t>& coded);
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t sum() const { return sum_; }
  /// The offset up to which all records are good.
  std::uint64_t position() const { return good_; }
  [[noreturn]] void fail(const std::string& what) const;

 private:
  void take(std::span<std::byte> target, const char* what);

  source* source_;
  std::uint64_t position_ = 0, good_ = 0, check_ = 0, bytes_ = 0, sum_ = 0;
};

}  // namespace compress_text
