# Makes llama.cpp's build short where its speed does not matter: a third of the processor time. Included by its project().
# Most of each file's time is spent on the same headers, so the files are compiled in batches of twenty (up to 1 GB of
# memory each), all but those that define what another one defines, and without optimisation: ggml's arithmetic keeps it.
set(ALONE common/json.cpp src/llama-kv-cache-dsv4.cpp tools/mtmd/mtmd-helper.cpp tools/mtmd/mtmd-helper-gen.cpp)

function(shorten_build)
    foreach(target llama llama-common server-context llama-server-impl mtmd cpp-httplib)
        get_target_property(folder ${target} SOURCE_DIR)
        get_target_property(sources ${target} SOURCES)
        list(TRANSFORM sources PREPEND "${folder}/" REGEX "^[^/]")
        set(alone ${ALONE})
        list(TRANSFORM alone PREPEND "${PROJECT_SOURCE_DIR}/")
        set_source_files_properties(${sources} TARGET_DIRECTORY ${target} PROPERTIES SKIP_UNITY_BUILD_INCLUSION OFF)
        set_source_files_properties(${alone} TARGET_DIRECTORY ${target} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
        set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 20)
        target_compile_options(${target} PRIVATE -O0)
    endforeach()
endfunction()

cmake_language(DEFER CALL shorten_build)  # once every target is there
