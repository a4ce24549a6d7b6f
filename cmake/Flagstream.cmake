# The project's own build rules: compile settings, one library per folder of src/, its tests, fuzzers and protos.

set(FLAGSTREAM_SANITIZE "" CACHE STRING "address (with undefined), thread, or empty")
option(FLAGSTREAM_FUZZ "Build the libFuzzer targets" OFF)

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(GTest REQUIRED)
find_package(Protobuf REQUIRED)

add_library(flagstream_options INTERFACE)
target_compile_options(flagstream_options INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Werror
  -Wno-deprecated-declarations  # libstdc++ 12 marks what its own stable_sort uses
  -fstack-protector-strong -ffunction-sections -fdata-sections)
target_compile_definitions(flagstream_options INTERFACE
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION _GLIBCXX_ASSERTIONS)
target_link_options(flagstream_options INTERFACE -fuse-ld=lld-19 -Wl,--gc-sections)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  # SSE4.2 is on every 64-bit server of the last 15 years; anything newer is dispatched at run time.
  target_compile_options(flagstream_options INTERFACE -march=x86-64-v2)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(flagstream_options INTERFACE -g1)
else()
  target_compile_options(flagstream_options INTERFACE -g1 -O1)
endif()
if(FLAGSTREAM_SANITIZE STREQUAL "address")
  # -fno-sanitize=function,vptr: coroutine frames and type-erased handlers trip both without a fault.
  target_compile_options(flagstream_options INTERFACE
    -fsanitize=address,undefined -fno-sanitize=function,vptr -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(flagstream_options INTERFACE -fsanitize=address,undefined)
  target_compile_definitions(flagstream_options INTERFACE BOOST_ASIO_DISABLE_SMALL_BLOCK_RECYCLING)
elseif(FLAGSTREAM_SANITIZE STREQUAL "thread")
  target_compile_options(flagstream_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(flagstream_options INTERFACE -fsanitize=thread)
endif()
if(FLAGSTREAM_FUZZ)
  target_compile_options(flagstream_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# flagstream_module(NAME SOURCES a.cc ... [PROTOS x.proto ...] [DEPS m ...] [PRIVATE_DEPS m|target ...])
# One static library with an include root of its own (build/include/NAME/NAME -> src/NAME), so that including
# a module that is not declared does not compile.  DEPS: what its headers include.  PRIVATE_DEPS: what only its
# sources include.  Names of modules are short ("log"); anything else is passed through as a CMake target.
function(flagstream_module name)
  cmake_parse_arguments(M "" "" "SOURCES;PROTOS;DEPS;PRIVATE_DEPS" ${ARGN})
  set(root ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${root})
  if(NOT EXISTS ${root}/${name})
    file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${root}/${name} SYMBOLIC)
  endif()
  if(M_SOURCES OR M_PROTOS)
    add_library(fs_${name} STATIC ${M_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(fs_${name} PRIVATE flagstream_options)
  else()
    add_library(fs_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(fs_${name} ${scope} ${root})
  foreach(proto IN LISTS M_PROTOS)
    get_filename_component(stem ${proto} NAME_WE)
    set(out ${CMAKE_BINARY_DIR}/proto/${name}/${name}/${stem}.pb)
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/proto/${name}/${name})
    add_custom_command(OUTPUT ${out}.cc ${out}.h
      COMMAND protobuf::protoc --cpp_out=${CMAKE_BINARY_DIR}/proto/${name} -I${root} ${root}/${name}/${proto}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto} VERBATIM)
    target_sources(fs_${name} PRIVATE ${out}.cc ${out}.h)
    set_source_files_properties(${out}.cc PROPERTIES COMPILE_OPTIONS "-w")
    target_include_directories(fs_${name} SYSTEM ${scope} ${CMAKE_BINARY_DIR}/proto/${name})
    target_link_libraries(fs_${name} ${scope} protobuf::libprotobuf)
  endforeach()
  foreach(dep IN LISTS M_DEPS)
    flagstream_target(target ${dep})
    target_link_libraries(fs_${name} ${scope} ${target})
  endforeach()
  foreach(dep IN LISTS M_PRIVATE_DEPS)
    flagstream_target(target ${dep})
    target_link_libraries(fs_${name} PRIVATE ${target})
  endforeach()
endfunction()

function(flagstream_target out name)
  if(EXISTS ${CMAKE_SOURCE_DIR}/src/${name}/CMakeLists.txt)
    set(${out} fs_${name} PARENT_SCOPE)
  else()
    set(${out} ${name} PARENT_SCOPE)
  endif()
endfunction()

# flagstream_test(MODULE SOURCES a_test.cc ... [DEPS ...]): unit tests that stand beside the source.
# One binary per module: MODULE_test.
function(flagstream_test name)
  cmake_parse_arguments(T "" "" "SOURCES;DEPS" ${ARGN})
  if(FLAGSTREAM_FUZZ)
    return()
  endif()
  add_executable(${name}_test ${T_SOURCES})
  target_link_libraries(${name}_test PRIVATE flagstream_options fs_${name} GTest::gtest GTest::gmock GTest::gtest_main)
  foreach(dep IN LISTS T_DEPS)
    flagstream_target(target ${dep})
    target_link_libraries(${name}_test PRIVATE ${target})
  endforeach()
  target_compile_definitions(${name}_test PRIVATE FLAGSTREAM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 120)
endfunction()

# flagstream_fuzz(MODULE NAME SOURCE): a libFuzzer target MODULE_NAME_fuzz; its corpus is tests/corpus/NAME.
# Without FLAGSTREAM_FUZZ the same source runs once over the kept corpus as a unit test.
function(flagstream_fuzz module name source)
  set(target ${module}_${name}_fuzz)
  add_executable(${target} ${source})
  target_link_libraries(${target} PRIVATE flagstream_options fs_${module} ${ARGN})
  set(corpus ${CMAKE_SOURCE_DIR}/tests/corpus/${name})
  if(FLAGSTREAM_FUZZ)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/corpus_main.cc)
    add_test(NAME ${module}.corpus_${name} COMMAND ${target} ${corpus})
  endif()
endfunction()
